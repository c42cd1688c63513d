# The length of the longest substring that occurs twice: rolling hashes and binary search.
BASE, MOD = 911382323, (1 << 61) - 1

text = input().strip()
codes = [ord(letter) for letter in text]


def repeats(length):
    high = pow(BASE, length - 1, MOD)
    value = 0
    for code in codes[:length]:
        value = (value * BASE + code) % MOD
    seen = {value}
    for index in range(length, len(codes)):
        value = ((value - codes[index - length] * high) * BASE + codes[index]) % MOD
        if value in seen:
            return True
        seen.add(value)
    return False


low, high = 0, len(text) - 1
while low < high:
    middle = (low + high + 1) // 2
    if repeats(middle):
        low = middle
    else:
        high = middle - 1
print(low)
