# Friends: the number of groups after each merge.
import sys

input = sys.stdin.readline


def find(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


people, merges = map(int, input().split())
parent = list(range(people + 1))
size = [1] * (people + 1)
groups = people
lines = []
for _ in range(merges):
    a, b = map(int, input().split())
    a, b = find(parent, a), find(parent, b)
    if a != b:
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = a
        size[a] += size[b]
        groups -= 1
    lines.append(groups)
print("\n".join(map(str, lines)))
