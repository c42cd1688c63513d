print(int("ff", 16), int("0b101", 0), bin(10), oct(64), hex(255), f"{255:08b}", int(-7 / 2), -7 // 2, -7 % 3, divmod(-7, 2))
print(round(2.5), round(3.5), round(2.675, 2), 0.1 + 0.2, 1e16 + 1, float("1e-320"), 10**20 // 3, 2**100)
