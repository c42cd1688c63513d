# How many primes there are up to n, and their sum.
n = int(input())
composite = bytearray(n + 1)
primes = []
for number in range(2, n + 1):
    if not composite[number]:
        primes.append(number)
        for multiple in range(number * number, n + 1, number):
            composite[multiple] = 1
print(len(primes), sum(primes))
