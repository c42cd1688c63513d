assert 1 + 1 == 2
assert input() == 'x', 'no'
