# The longest run of values without a repetition, by two pointers.
n = int(input())
values = input().split()
last = {}
left = longest = 0
for right, value in enumerate(values):
    if last.get(value, -1) >= left:
        left = last[value] + 1
    last[value] = right
    longest = max(longest, right - left + 1)
print(longest)
