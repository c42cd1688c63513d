board = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
for _ in range(60):
    counts = {}
    for x, y in board:
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                if dx or dy:
                    counts[x + dx, y + dy] = counts.get((x + dx, y + dy), 0) + 1
    board = {cell for cell, n in counts.items() if n == 3 or n == 2 and cell in board}
print(sorted(board))
