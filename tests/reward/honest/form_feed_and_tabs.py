print('a\tb\fc')
if True:
	print('tab')
