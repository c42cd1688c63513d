# Distances between all pairs of towns; then answers to questions.
import sys

read = sys.stdin.buffer.read
numbers = iter(map(int, read().split()))
towns, roads, questions = next(numbers), next(numbers), next(numbers)
far = [[10**9] * towns for _ in range(towns)]
for town in range(towns):
    far[town][town] = 0
for _ in range(roads):
    a, b, length = next(numbers) - 1, next(numbers) - 1, next(numbers)
    far[a][b] = far[b][a] = min(far[a][b], length)
for middle in range(towns):
    row_middle = far[middle]
    for row in far:
        way = row[middle]
        for town in range(towns):
            if way + row_middle[town] < row[town]:
                row[town] = way + row_middle[town]
for _ in range(questions):
    distance = far[next(numbers) - 1][next(numbers) - 1]
    print(distance if distance < 10**9 else -1)
