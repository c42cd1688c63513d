limit = 200_000
sieve = bytearray([1]) * (limit + 1)
sieve[0:2] = b"\0\0"
for p in range(2, int(limit**0.5) + 1):
    if sieve[p]:
        sieve[p * p :: p] = bytes(len(range(p * p, limit + 1, p)))
primes = [p for p in range(limit + 1) if sieve[p]]
print(len(primes), primes[-1], sum(primes) % 1_000_000_007)
