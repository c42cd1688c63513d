max = max([1, 5])
list = [max]
sum = sum(list)
print(max, list, sum)
