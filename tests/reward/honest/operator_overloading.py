from functools import total_ordering


@total_ordering
class Money:
    __slots__ = ("cents",)

    def __init__(self, cents):
        self.cents = cents

    def __add__(self, other):
        return Money(self.cents + other.cents)

    def __eq__(self, other):
        return self.cents == other.cents

    def __lt__(self, other):
        return self.cents < other.cents

    def __repr__(self):
        return f"{self.cents // 100}.{self.cents % 100:02}"

    __hash__ = None


print(sum([Money(150), Money(275)], Money(0)), max(Money(3), Money(9)), Money(1) >= Money(1))
