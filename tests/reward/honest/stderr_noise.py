import sys
print('log', file=sys.stderr)
print('answer')
