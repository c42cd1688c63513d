target, *numbers = map(int, open(0).read().split())
seen = {}
for place, number in enumerate(numbers):
    if target - number in seen:
        print(seen[target - number], place)
        break
    seen[number] = place
else:
    print("none")
