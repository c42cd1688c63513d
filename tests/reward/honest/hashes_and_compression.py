import base64
import hashlib
import zlib

print(hashlib.sha256(b"abc").hexdigest()[:16], hashlib.md5(b"").hexdigest())
data = b"hello " * 100
print(len(zlib.compress(data)) < 50, zlib.decompress(zlib.compress(data)) == data, zlib.crc32(data))
print(base64.b64encode(b"any carnal pleas"))
