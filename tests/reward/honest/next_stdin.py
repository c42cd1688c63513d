import sys
n = int(next(sys.stdin))
print([next(sys.stdin).strip() for _ in range(n)])
