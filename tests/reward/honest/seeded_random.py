import random

random.seed(42)
print([random.randint(1, 100) for _ in range(5)], random.choice("abc"), round(random.random(), 6))
values = list(range(10))
random.Random(7).shuffle(values)
print(values)
