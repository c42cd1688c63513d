out = open(1, 'w')
out.write('left open\n')
