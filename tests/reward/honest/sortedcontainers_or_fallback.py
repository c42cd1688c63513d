try:
    from sortedcontainers import SortedList
except ImportError:
    SortedList = sorted
print(list(SortedList([3, 1, 2])))
