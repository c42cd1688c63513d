import bisect, itertools
print(bisect.bisect_left([1, 3, 5], 4), list(itertools.permutations('abc', 2)), list(itertools.accumulate(range(5))))
