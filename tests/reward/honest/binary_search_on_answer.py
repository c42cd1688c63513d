lengths = [802, 743, 457, 539]
pieces = int(input())
low, high = 0, max(lengths) + 1
while high - low > 1:
    middle = (low + high) // 2
    if sum(length // middle for length in lengths) >= pieces:
        low = middle
    else:
        high = middle
print(low)
