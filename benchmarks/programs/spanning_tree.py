# Weight of a minimum spanning tree, by Kruskal's algorithm.
nodes, edges = map(int, input().split())
roads = []
for _ in range(edges):
    a, b, weight = map(int, input().split())
    roads.append((weight, a, b))
roads.sort()
parent = list(range(nodes + 1))


def find(node):
    root = node
    while parent[root] != root:
        root = parent[root]
    while parent[node] != root:
        parent[node], node = root, parent[node]
    return root


total = 0
for weight, a, b in roads:
    a, b = find(a), find(b)
    if a != b:
        parent[a] = b
        total += weight
print(total)
