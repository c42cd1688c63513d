words = set('the quick brown fox the'.split())
print(sorted(words), len(words))
