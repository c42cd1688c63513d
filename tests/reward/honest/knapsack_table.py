weights = [3, 4, 5, 9, 14, 7, 8, 6, 11, 2] * 6
values = [w * 7 % 13 + w for w in weights]
best = [0] * 301
for w, v in zip(weights, values):
    for c in range(300, w - 1, -1):
        best[c] = max(best[c], best[c - w] + v)
print(best[300])
