# The largest rectangle under a histogram, with a stack of rising bars.
n = int(input())
heights = list(map(int, input().split())) + [0]
stack = []
best = 0
for index, height in enumerate(heights):
    start = index
    while stack and stack[-1][1] >= height:
        start, tall = stack.pop()
        best = max(best, tall * (index - start))
    stack.append((start, height))
print(best)
