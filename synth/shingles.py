"""Statements as sets of word runs, whatever their case and punctuation."""

import hashlib
import re
import zlib
from collections.abc import Iterator

WORD = re.compile(r"[^\W_]+")


def statement_shingles(statement: str, words: int) -> frozenset[int]:
    """CRC-32 of every run of `words` words, as MinHash takes them; of all words where they are fewer."""
    return frozenset(zlib.crc32(run.encode()) for run in _runs(statement, words))


def statement_ngrams(statement: str, words: int) -> frozenset[int]:
    """The same runs by 64-bit hashes: of 32 bits, one n-gram in common would often be an accident of the hash."""
    hashes = (hashlib.blake2b(run.encode(), digest_size=8).digest() for run in _runs(statement, words))
    return frozenset(int.from_bytes(digest, "little") for digest in hashes)


def _runs(statement: str, words: int) -> Iterator[str]:
    found = WORD.findall(statement.lower())
    return (" ".join(found[place : place + words]) for place in range(max(len(found) - words + 1, 1)))
