import heapq
from collections import deque, defaultdict, Counter
h = [5, 1, 4]
heapq.heapify(h)
d = deque(range(4), maxlen=3)
c = Counter('banana')
print([heapq.heappop(h) for _ in range(3)], list(d), c.most_common(), dict(defaultdict(int)))
