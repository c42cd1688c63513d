# A cache that drops what was used least recently: hits, misses and what is left.
from collections import OrderedDict


class Cache:
    def __init__(self, capacity):
        self.capacity = capacity
        self.entries = OrderedDict()

    def use(self, key):
        hit = key in self.entries
        if hit:
            self.entries.move_to_end(key)
        else:
            self.entries[key] = True
            if len(self.entries) > self.capacity:
                self.entries.popitem(last=False)
        return hit


capacity, uses = map(int, input().split())
cache = Cache(capacity)
hits = 0
for key in input().split():
    hits += cache.use(key)
print(hits, uses - hits)
print(*sorted(cache.entries, key=int)[:20])
