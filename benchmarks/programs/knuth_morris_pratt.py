# Where the pattern occurs in the text: the number of places and the first five.
def failure_table(pattern):
    table = [0] * len(pattern)
    matched = 0
    for index in range(1, len(pattern)):
        while matched and pattern[index] != pattern[matched]:
            matched = table[matched - 1]
        if pattern[index] == pattern[matched]:
            matched += 1
        table[index] = matched
    return table


text = input().strip()
pattern = input().strip()
table = failure_table(pattern)
found = []
matched = 0
for index, letter in enumerate(text):
    while matched and letter != pattern[matched]:
        matched = table[matched - 1]
    if letter == pattern[matched]:
        matched += 1
    if matched == len(pattern):
        found.append(index - matched + 1)
        matched = table[matched - 1]
print(len(found), *found[:5])
