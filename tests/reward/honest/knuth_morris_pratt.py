text, pattern = "abababcabababcab" * 200, "ababcab"
fail = [0] * len(pattern)
k = 0
for i in range(1, len(pattern)):
    while k and pattern[i] != pattern[k]:
        k = fail[k - 1]
    k += pattern[i] == pattern[k]
    fail[i] = k
found, k = [], 0
for i, c in enumerate(text):
    while k and (k == len(pattern) or c != pattern[k]):
        k = fail[k - 1]
    k += c == pattern[k]
    if k == len(pattern):
        found.append(i)
print(len(found), found[:3], found[-1])
