# The number of subsets with a given sum, by meeting in the middle.
from collections import Counter

n, target = map(int, input().split())
weights = list(map(int, input().split()))


def sums(part):
    totals = [0]
    for weight in part:
        totals += [total + weight for total in totals]
    return totals


first = Counter(sums(weights[: n // 2]))
print(sum(first[target - total] for total in sums(weights[n // 2 :])))
