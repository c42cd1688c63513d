from random import Random

rng = Random(5)
values = rng.sample(range(10_000), 4_000)
order = {value: place for place, value in enumerate(sorted(values), 1)}
tree = [0] * (len(values) + 1)


def add(place):
    while place < len(tree):
        tree[place] += 1
        place += place & -place


def before(place):
    total = 0
    while place:
        total += tree[place]
        place -= place & -place
    return total


inversions = 0
for seen, value in enumerate(values):
    inversions += seen - before(order[value])
    add(order[value])
print(inversions)
