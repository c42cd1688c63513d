# The sum of the medians of all prefixes, with two heaps.
import heapq
import sys

values = list(map(int, sys.stdin.read().split()))[1:]
low, high = [], []
total = 0
for value in values:
    heapq.heappush(low, -heapq.heappushpop(high, value))
    if len(low) > len(high) + 1:
        heapq.heappush(high, -heapq.heappop(low))
    total += -low[0]
print(total)
