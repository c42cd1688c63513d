from collections import Counter, OrderedDict, defaultdict

words = input().split()
print(Counter(words).most_common(2), (Counter("abca") - Counter("ab")).total())
places = defaultdict(list)
for i, word in enumerate(words):
    places[len(word)].append(i)
print(dict(places), list(OrderedDict.fromkeys(words)))
