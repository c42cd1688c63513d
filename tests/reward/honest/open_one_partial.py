from functools import partial
print = partial(print, file=open(1, 'w'))
print(42)
