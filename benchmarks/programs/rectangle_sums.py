# Sums over rectangles of a grid, by two-dimensional prefix sums.
from itertools import accumulate

height, width, questions = map(int, input().split())
above = [0] * (width + 1)
prefix = [above]
for _ in range(height):
    row = [0, *accumulate(map(int, input().split()))]
    above = [a + b for a, b in zip(above, row)]
    prefix.append(above)
for _ in range(questions):
    top, left, bottom, right = map(int, input().split())
    inside = prefix[bottom][right] - prefix[top - 1][right] - prefix[bottom][left - 1] + prefix[top - 1][left - 1]
    print(inside)
