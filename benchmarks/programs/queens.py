# In how many ways n queens stand on a board with blocked squares and do not threaten each other.
n = int(input())
board = [input() for _ in range(n)]
free = [sum(1 << column for column in range(n) if line[column] == ".") for line in board]


def place(row, columns, left, right):
    if row == n:
        return 1
    found = 0
    open_squares = free[row] & ~(columns | left | right)
    while open_squares:
        square = open_squares & -open_squares
        open_squares ^= square
        found += place(row + 1, columns | square, (left | square) << 1, (right | square) >> 1)
    return found


print(place(0, 0, 0, 0))
