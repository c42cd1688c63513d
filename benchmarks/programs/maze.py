# Fewest steps from S to G in a maze, or -1.
from collections import deque

height, width = map(int, input().split())
maze = [input() for _ in range(height)]
start = goal = (0, 0)
for y in range(height):
    for x in range(width):
        if maze[y][x] == "S":
            start = (y, x)
        elif maze[y][x] == "G":
            goal = (y, x)
steps = {start: 0}
queue = deque([start])
while queue:
    y, x = queue.popleft()
    if (y, x) == goal:
        break
    for place in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
        if 0 <= place[0] < height and 0 <= place[1] < width:
            if maze[place[0]][place[1]] != "#" and place not in steps:
                steps[place] = steps[(y, x)] + 1
                queue.append(place)
print(steps.get(goal, -1))
