from functools import lru_cache

points = [(0, 0), (3, 1), (6, 2), (5, 5), (1, 6), (2, 3), (7, 7), (4, 0)]
n = len(points)
cost = [[abs(a - c) + abs(b - d) for c, d in points] for a, b in points]


@lru_cache(maxsize=None)
def best(mask, last):
    if mask == (1 << n) - 1:
        return cost[last][0]
    return min(cost[last][i] + best(mask | 1 << i, i) for i in range(n) if not mask >> i & 1)


print(best(1, 0), best.cache_info().currsize > 100)
