import heapq

runs = [sorted((i * k) % 101 for i in range(20)) for k in (7, 11, 13)]
print(list(heapq.merge(*runs))[:12], heapq.nlargest(3, runs[0]), heapq.nsmallest(2, runs[2], key=lambda x: -x))
