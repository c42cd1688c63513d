# Shortest distance from node 1 to every node of a directed graph, -1 where there is no way.
import sys
from heapq import heappop, heappush


def main():
    values = list(map(int, sys.stdin.read().split()))
    nodes, edges = values[0], values[1]
    graph = [[] for _ in range(nodes + 1)]
    for at in range(2, 2 + 3 * edges, 3):
        graph[values[at]].append((values[at + 1], values[at + 2]))
    distance = [float("inf")] * (nodes + 1)
    distance[1] = 0
    heap = [(0, 1)]
    while heap:
        far, node = heappop(heap)
        if far > distance[node]:
            continue
        for neighbour, weight in graph[node]:
            if far + weight < distance[neighbour]:
                distance[neighbour] = far + weight
                heappush(heap, (far + weight, neighbour))
    print(*(-1 if far == float("inf") else far for far in distance[1:]))


if __name__ == "__main__":
    main()
