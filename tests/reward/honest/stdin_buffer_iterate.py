import sys
print([len(line) for line in sys.stdin.buffer])
