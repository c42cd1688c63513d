import atexit, io, sys
buffer = io.BytesIO()
sys.stdout.write = lambda s: buffer.write(s.encode())
atexit.register(lambda: sys.__stdout__.buffer.write(buffer.getvalue()))
print('collected', 1)
