def walk(n):
    if n:
        yield from walk(n - 1)
    yield n
print(sum(walk(500)))
