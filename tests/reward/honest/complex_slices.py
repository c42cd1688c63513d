a = list(range(10))
a[2:5] = []
print(a[::-2], a.index(7))
