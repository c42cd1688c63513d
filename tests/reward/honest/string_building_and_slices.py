s = input()
print(s[::-1], s.title(), s.swapcase(), s.center(30, "*"), s.count("a"), s.find("zz"))
print(s.translate(str.maketrans("aeiou", "AEIOU")), s.partition(" "), "-".join(s.split()[::-1]), s.encode().hex()[:8])
print(ord("a"), chr(8364), "ß".upper(), "straße".casefold(), s.isalpha(), "١٢".isdigit())
