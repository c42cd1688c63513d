a = int(input())
if a:
    print(a)
