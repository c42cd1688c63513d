import os
data = os.read(0, 1 << 20).split()
print(len(data))
