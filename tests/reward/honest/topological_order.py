from collections import defaultdict, deque

after, waiting = defaultdict(list), defaultdict(int)
nodes = set()
for line in open(0):
    a, b = line.split()
    after[a].append(b)
    waiting[b] += 1
    nodes |= {a, b}
ready = deque(sorted(node for node in nodes if not waiting[node]))
order = []
while ready:
    node = ready.popleft()
    order.append(node)
    for other in sorted(after[node]):
        waiting[other] -= 1
        if not waiting[other]:
            ready.append(other)
print(" ".join(order))
