import sys
print('text', flush=True)
sys.stdout.buffer.write(b'bytes\n')
