import os
stream = os.fdopen(0)
print(stream.readline().strip(), stream.read().split())
