print([y for x in range(5) if (y := x * x) > 3], {k: v for k, v in zip('ab', (1, 2))})
