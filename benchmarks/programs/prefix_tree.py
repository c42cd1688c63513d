# How many of the words start with each of the prefixes.
class Node:
    __slots__ = ("children", "count")

    def __init__(self):
        self.children = {}
        self.count = 0


words, prefixes = map(int, input().split())
root = Node()
for _ in range(words):
    node = root
    for letter in input().strip():
        if letter not in node.children:
            node.children[letter] = Node()
        node = node.children[letter]
        node.count += 1
for _ in range(prefixes):
    node = root
    for letter in input().strip():
        node = node.children.get(letter)
        if node is None:
            break
    print(node.count if node else 0)
