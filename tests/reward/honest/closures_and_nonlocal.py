def counter():
    count = 0

    def step(by=1):
        nonlocal count
        count += by
        return count

    return step


step = counter()
step()
step(5)
print(step(), [f(2) for f in [lambda x, k=k: x**k for k in range(4)]])
