INF = 10**9
n = 40
d = [[0 if i == j else (i * 37 + j * 91) % 97 + 1 if (i + j) % 3 else INF for j in range(n)] for i in range(n)]
for k in range(n):
    dk = d[k]
    for i in range(n):
        dik = d[i][k]
        d[i] = [min(x, dik + y) for x, y in zip(d[i], dk)]
print(sum(map(sum, d)), max(map(max, d)))
