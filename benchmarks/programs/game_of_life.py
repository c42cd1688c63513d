# Conway's game of life on a set of living cells: how many live after some generations, and where the first one is.
from collections import Counter


def generation(alive):
    near = Counter((y + dy, x + dx) for y, x in alive for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
    return {cell for cell, count in near.items() if count == 3 or (count == 2 and cell in alive)}


size, generations = map(int, input().split())
alive = set()
for y in range(size):
    for x, mark in enumerate(input()):
        if mark == "o":
            alive.add((y, x))
for _ in range(generations):
    alive = generation(alive)
print(len(alive), *(min(alive) if alive else ()))
