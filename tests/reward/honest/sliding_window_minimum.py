from collections import deque

n, k = map(int, input().split())
window, out = deque(), []
for i, x in enumerate(map(int, input().split())):
    while window and window[-1][1] >= x:
        window.pop()
    window.append((i, x))
    if window[0][0] <= i - k:
        window.popleft()
    if i >= k - 1:
        out.append(window[0][1])
print(*out)
