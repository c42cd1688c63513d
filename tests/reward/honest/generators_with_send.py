def average():
    total = count = 0
    mean = None
    while True:
        mean_input = yield mean
        if mean_input is None:
            return total
        total += mean_input
        count += 1
        mean = total / count


it = average()
next(it)
print(it.send(10), it.send(20))
try:
    it.send(None)
except StopIteration as stop:
    print(stop.value)
