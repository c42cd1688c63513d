import array
import struct

packed = struct.pack("<IhB", 70000, -2, 255)
print(packed.hex(), struct.unpack("<IhB", packed), array.array("i", [1, 2, 3]).tobytes()[:4])
print(memoryview(b"abcdef")[1:5:2].tobytes(), int.from_bytes(b"\x01\x00", "big"), (1000).to_bytes(2, "little"))
