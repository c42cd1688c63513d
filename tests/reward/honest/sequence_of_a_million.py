import sys
numbers = list(map(int, sys.stdin.buffer.read().split()))
sys.stdout.write('\n'.join(map(str, numbers)) + '\n')
