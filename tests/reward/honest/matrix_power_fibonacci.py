MOD = 10**9 + 7


def times(a, b):
    return [[sum(x * y for x, y in zip(row, column)) % MOD for column in zip(*b)] for row in a]


def power(a, n):
    result = [[int(i == j) for j in range(len(a))] for i in range(len(a))]
    while n:
        if n & 1:
            result = times(result, a)
        a = times(a, a)
        n >>= 1
    return result


for n in (1, 10, 10**6, 10**18):
    print(power([[1, 1], [1, 0]], n)[0][1])
