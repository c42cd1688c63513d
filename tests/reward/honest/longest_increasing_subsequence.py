from bisect import bisect_left

tails = []
for x in map(int, input().split()):
    place = bisect_left(tails, x)
    tails[place : place + 1] = [x]
print(len(tails))
