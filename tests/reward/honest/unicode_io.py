text = input()
print(text[::-1], len(text), 'ß→日本')
