# The shortest round trip through all towns, by dynamic programming over subsets.
import math


def main():
    towns = int(input())
    points = [tuple(map(int, input().split())) for _ in range(towns)]
    distance = [[abs(a - c) + abs(b - d) for c, d in points] for a, b in points]
    full = 1 << towns
    best = [[math.inf] * towns for _ in range(full)]
    best[1][0] = 0
    for seen in range(1, full, 2):
        row = best[seen]
        for last in range(towns):
            if row[last] == math.inf:
                continue
            for after in range(1, towns):
                if not seen >> after & 1:
                    through = row[last] + distance[last][after]
                    if through < best[seen | 1 << after][after]:
                        best[seen | 1 << after][after] = through
    print(min(best[-1][last] + distance[last][0] for last in range(towns)))


main()
