n, m = map(int, input().split())
edges = sorted(tuple(map(int, input().split()))[::-1] for _ in range(m))
parent = list(range(n + 1))


def find(x):
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


total = 0
for weight, b, a in edges:
    a, b = find(a), find(b)
    if a != b:
        parent[a] = b
        total += weight
print(total)
