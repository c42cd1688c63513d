# A linear recurrence of order k: its n-th term modulo 998244353, by matrix exponentiation.
MOD = 998244353


def multiply(a, b):
    columns = list(zip(*b))
    return [[sum(x * y for x, y in zip(row, column)) % MOD for column in columns] for row in a]


order, index = map(int, input().split())
coefficients = list(map(int, input().split()))
start = list(map(int, input().split()))
step = [coefficients] + [[int(row == column) for column in range(order)] for row in range(order - 1)]
power = [[int(row == column) for column in range(order)] for row in range(order)]
while index:
    if index & 1:
        power = multiply(power, step)
    step = multiply(step, step)
    index >>= 1
print(sum(a * b for a, b in zip(power[-1], reversed(start))) % MOD)
