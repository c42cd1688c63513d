from collections import deque

rows = [list(line) for line in """S.#..
..#.#
....E""".split()
start = next((r, c) for r, row in enumerate(rows) for c, x in enumerate(row) if x == "S")
queue, steps = deque([start]), {start: 0}
while queue:
    r, c = queue.popleft()
    if rows[r][c] == "E":
        print(steps[r, c])
        break
    for p in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
        if 0 <= p[0] < len(rows) and 0 <= p[1] < len(rows[0]) and rows[p[0]][p[1]] != "#" and p not in steps:
            steps[p] = steps[r, c] + 1
            queue.append(p)
