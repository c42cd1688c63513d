import os
os.write(1, b'direct\n')
