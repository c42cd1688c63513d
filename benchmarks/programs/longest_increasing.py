# Length of the longest strictly increasing subsequence.
from bisect import bisect_left

n = int(input())
tails = []
for value in map(int, input().split()):
    at = bisect_left(tails, value)
    if at == len(tails):
        tails.append(value)
    else:
        tails[at] = value
print(len(tails))
