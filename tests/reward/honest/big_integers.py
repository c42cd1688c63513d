n = int(input())
print(pow(3, n, 10**9 + 7), len(str(2**10000)))
