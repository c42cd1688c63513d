# The ten most frequent words of a text, ties in alphabetical order, with their share.
import sys
from collections import Counter

words = sys.stdin.read().lower().split()
cleaned = ("".join(filter(str.isalnum, word)) for word in words)
counts = Counter(word for word in cleaned if word)
for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]:
    print(f"{word} {count} {count / len(words):.4f}")
