# Ways from the upper left to the lower right corner around walls, modulo 10^9 + 7.
MOD = 10**9 + 7


def solve():
    height, width = map(int, input().split())
    ways = [0] * width
    ways[0] = 1
    for _ in range(height):
        row = input()
        for column in range(width):
            if row[column] == "#":
                ways[column] = 0
            elif column:
                ways[column] = (ways[column] + ways[column - 1]) % MOD
    print(ways[-1])


solve()
