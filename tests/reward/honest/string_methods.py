s = 'Hello, World'
print(s.swapcase(), s.translate(str.maketrans('lo', '01')), s.partition(','), s.encode().hex())
