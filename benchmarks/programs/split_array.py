# Split an array into k parts so that the greatest sum of a part is least: binary search on the answer.
n, parts = map(int, input().split())
values = list(map(int, input().split()))


def fits(limit):
    used, current = 1, 0
    for value in values:
        if current + value > limit:
            used += 1
            current = 0
        current += value
    return used <= parts


low, high = max(values), sum(values)
while low < high:
    middle = (low + high) // 2
    if fits(middle):
        high = middle
    else:
        low = middle + 1
print(low)
