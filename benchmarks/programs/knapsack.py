# 0/1 knapsack: the best value within the capacity.
items, capacity = map(int, input().split())
best = [0] * (capacity + 1)
for _ in range(items):
    weight, value = map(int, input().split())
    for room in range(capacity, weight - 1, -1):
        taken = best[room - weight] + value
        if taken > best[room]:
            best[room] = taken
print(best[capacity])
