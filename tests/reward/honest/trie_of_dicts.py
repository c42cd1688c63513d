END = object()
root = {}
for word in "to tea ted ten i in inn tease".split():
    node = root
    for letter in word:
        node = node.setdefault(letter, {})
    node[END] = word


def words(node):
    for key in sorted((k for k in node if k is not END)):
        yield from words(node[key])
    if END in node:
        yield node[END]


print(list(words(root["t"])), "te" in root)
