import io
stream = io.BytesIO(b'x y')
print(stream.read().split())
