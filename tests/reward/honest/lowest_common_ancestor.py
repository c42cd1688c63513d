import sys
sys.setrecursionlimit(300000)
n = 20000
parent = [0] * (n + 1)
depth = [0] * (n + 1)
children = [[] for _ in range(n + 1)]
for v in range(2, n + 1):
    parent[v] = v - 1 if v % 7 else v // 2
    children[parent[v]].append(v)


def visit(v):
    for w in children[v]:
        depth[w] = depth[v] + 1
        visit(w)


visit(1)
up = [parent]
for _ in range(15):
    up.append([up[-1][x] for x in up[-1]])


def lca(a, b):
    if depth[a] < depth[b]:
        a, b = b, a
    for k in range(15, -1, -1):
        if depth[a] - (1 << k) >= depth[b]:
            a = up[k][a]
    if a == b:
        return a
    for k in range(15, -1, -1):
        if up[k][a] != up[k][b]:
            a, b = up[k][a], up[k][b]
    return parent[a]


print(lca(19999, 13), lca(12345, 6789), max(depth))
