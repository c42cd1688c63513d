# n! as one integer: its length in bits, its trailing zeros, and its remainder by a large modulus.
n, modulus = map(int, input().split())
product = 1
for factor in range(2, n + 1):
    product *= factor
zeros = 0
power = 5
while power <= n:
    zeros += n // power
    power *= 5
print(product.bit_length(), zeros, product % modulus)
