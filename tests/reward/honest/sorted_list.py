from sortedcontainers import SortedList

print(list(SortedList([3, 1, 2])))
