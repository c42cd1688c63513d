import sys
input = sys.stdin.readline
n = int(input())
print([input().rstrip() for _ in range(n)])
