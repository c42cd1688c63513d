# The lexicographically smallest order of tasks that respects all prerequisites.
import heapq
import sys
from collections import defaultdict

data = sys.stdin.read().split("\n")
tasks, rules = map(int, data[0].split())
waits = [0] * (tasks + 1)
after = defaultdict(list)
for line in data[1 : rules + 1]:
    first, second = map(int, line.split())
    after[first].append(second)
    waits[second] += 1
ready = [task for task in range(1, tasks + 1) if waits[task] == 0]
heapq.heapify(ready)
order = []
while ready:
    task = heapq.heappop(ready)
    order.append(task)
    for later in after[task]:
        waits[later] -= 1
        if waits[later] == 0:
            heapq.heappush(ready, later)
print(*order)
