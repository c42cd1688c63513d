# Levenshtein distance of two words.
a = input().strip()
b = input().strip()
previous = list(range(len(b) + 1))
for i, x in enumerate(a, 1):
    current = [i]
    for j, y in enumerate(b, 1):
        current.append(min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (x != y)))
    previous = current
print(previous[-1])
