import heapq
import sys

input = sys.stdin.readline
n, m = map(int, input().split())
graph = [[] for _ in range(n)]
for _ in range(m):
    a, b, w = map(int, input().split())
    graph[a - 1].append((b - 1, w))
    graph[b - 1].append((a - 1, w))
distance = [float("inf")] * n
distance[0] = 0
heap = [(0, 0)]
while heap:
    d, u = heapq.heappop(heap)
    if d > distance[u]:
        continue
    for v, w in graph[u]:
        if d + w < distance[v]:
            distance[v] = d + w
            heapq.heappush(heap, (d + w, v))
print(*[d if d < float("inf") else -1 for d in distance])
