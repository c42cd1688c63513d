import math, cmath, fractions, decimal
print(math.comb(50, 25), math.isqrt(10**18), cmath.sqrt(-1), fractions.Fraction(1, 3) + 1, decimal.Decimal('0.1') * 3)
