import sys
n = int(input())
print(n, sys.stdin.read().split())
