n, *rest = map(int, open(0).read().split())
print(n, sum(rest))
