"""Statements as sets of word runs, whatever their case and punctuation.

A word is a run of letters and digits. In a script that puts no spaces between words, a character is a word, together
with the signs that are written on it.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator

_CHARACTERS = (
    r"\u3005-\u3007\u3041-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003fffd"  # Chinese and Japanese
    r"\u0e01-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1780-\u17dd"  # Thai, Lao, Khmer
    r"\u1000-\u103f\u1050-\u108f\u109a-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Burmese
    r"\u0f00\u0f40-\u0fbc"  # Tibetan
)
"""The scripts without spaces, but for their digits."""
_SIGNS = (
    r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u17b4-\u17d3\u102b-\u103e\u1056-\u1059"
    r"\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u0f71-\u0f84\u0f8d-\u0fbc"
)
"""Vowels, tones and letters that stand above, below or behind one of these characters."""
WORD = re.compile(rf"[^\W_{_CHARACTERS}]+|(?=\w)[{_CHARACTERS}][{_SIGNS}]*")


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
