from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60
print(sum(Fraction(1, n) for n in range(1, 30)))
print(Decimal(2).sqrt(), (Decimal("0.1") + Decimal("0.2")).normalize())
