print('partial')
raise ValueError('bad')
