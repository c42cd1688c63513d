x = bytearray(100 << 20)
x[-1] = 1
print(len(x), sum(x[-10:]))
