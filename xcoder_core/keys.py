"""The keys that a table holds already, in some 16 to 50 bytes each, so that memory hardly grows with the table."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import bytes_
    from numpy.typing import NDArray

RECENT = 16_384
"""Keys that are kept as a set at least; adding to a sorted array costs a pass over it."""


class Keys:
    """A set that only grows, of hashes of 128 bits: among a billion keys, two are taken for one with chance 1e-21."""

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._sorted: NDArray[bytes_] | None = None

    def add(self, key: tuple[object, ...]) -> None:
        """Add a key that is not there yet."""
        import numpy

        self._recent.add(_digest(key))
        before = 0 if self._sorted is None else len(self._sorted)
        if len(self._recent) >= max(RECENT, before // 4):
            recent = numpy.array(list(self._recent), dtype="S16")
            self._sorted = numpy.sort(recent if self._sorted is None else numpy.concatenate([self._sorted, recent]))
            self._recent = set()

    def __contains__(self, key: tuple[object, ...]) -> bool:
        digest = _digest(key)
        if digest in self._recent:
            return True
        if self._sorted is None:
            return False
        place = int(self._sorted.searchsorted(digest))
        return place < len(self._sorted) and bool(self._sorted[place] == digest)

    def __len__(self) -> int:
        return len(self._recent) + (0 if self._sorted is None else len(self._sorted))


def _digest(key: tuple[object, ...]) -> bytes:
    """numpy's byte strings end before trailing zeros, so these do too."""
    return hashlib.blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=16).digest().rstrip(b"\0")
