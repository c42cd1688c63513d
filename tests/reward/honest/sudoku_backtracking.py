grid = [list(map(int, line)) for line in open(0).read().split()]


def fits(r, c, v):
    if v in grid[r] or any(row[c] == v for row in grid):
        return False
    return all(grid[r // 3 * 3 + i][c // 3 * 3 + j] != v for i in range(3) for j in range(3))


def solve():
    for r in range(9):
        for c in range(9):
            if not grid[r][c]:
                for v in range(1, 10):
                    if fits(r, c, v):
                        grid[r][c] = v
                        if solve():
                            return True
                        grid[r][c] = 0
                return False
    return True


print(solve())
for row in grid:
    print(*row, sep="")
