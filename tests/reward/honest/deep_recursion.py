import sys
sys.setrecursionlimit(300000)
def f(n):
    return n if n < 2 else 1 + f(n - 1)
print(f(50000))
