# The number of strongly connected components and the size of the largest, by two depth-first searches without recursion.
import sys

data = sys.stdin.buffer.read().split()
nodes, edges = int(data[0]), int(data[1])
forward = [[] for _ in range(nodes)]
backward = [[] for _ in range(nodes)]
for edge in range(edges):
    a, b = int(data[2 + 2 * edge]) - 1, int(data[3 + 2 * edge]) - 1
    forward[a].append(b)
    backward[b].append(a)

order = []
seen = [False] * nodes
for root in range(nodes):
    stack = [(root, 0)]
    while stack:
        node, at = stack.pop()
        if at == 0:
            if seen[node]:
                continue
            seen[node] = True
        if at < len(forward[node]):
            stack.append((node, at + 1))
            if not seen[forward[node][at]]:
                stack.append((forward[node][at], 0))
        else:
            order.append(node)

sizes = []
taken = [False] * nodes
for root in reversed(order):
    if taken[root]:
        continue
    taken[root] = True
    stack = [root]
    size = 0
    while stack:
        node = stack.pop()
        size += 1
        for other in backward[node]:
            if not taken[other]:
                taken[other] = True
                stack.append(other)
    sizes.append(size)
print(len(sizes), max(sizes))
