from itertools import accumulate, chain, combinations, count, groupby, islice, pairwise, permutations, product, takewhile

print(list(accumulate([3, 1, 4, 1, 5], max)), list(islice(count(5, 3), 4)))
print([(k, len(list(g))) for k, g in groupby("aaabccd")])
print(sum(1 for _ in permutations(range(6))), len(list(combinations(range(8), 3))), list(product("ab", repeat=2)))
print(list(takewhile(lambda x: x < 20, (x * x for x in count()))), list(pairwise(chain([1], [2, 3]))))
