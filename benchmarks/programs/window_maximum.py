# The maximum of every window of k values.
from collections import deque

n, k = map(int, input().split())
values = [int(word) for word in input().split()]
window = deque()
maxima = []
for index in range(n):
    while window and values[window[-1]] <= values[index]:
        window.pop()
    window.append(index)
    if window[0] <= index - k:
        window.popleft()
    if index >= k - 1:
        maxima.append(values[window[0]])
print(" ".join(map(str, maxima)))
