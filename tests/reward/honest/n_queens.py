def solve(row, columns, rising, falling):
    if row == n:
        return 1
    count, free = 0, ((1 << n) - 1) & ~(columns | rising | falling)
    while free:
        bit = free & -free
        free ^= bit
        count += solve(row + 1, columns | bit, (rising | bit) << 1, (falling | bit) >> 1)
    return count


n = 8
print(solve(0, 0, 0, 0))
