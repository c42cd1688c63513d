"""How similar statements are: their sets of word runs, and the index of the statements that stay.

A word is a run of letters and digits, in lower case. In a script without spaces between words, each character is a
word, together with the signs that are written on it.

The index is datasketch's MinHash LSH with its buckets in a private SQLite file in the folder for temporary files, so
that memory does not grow with the number of statements. The open file has no name, so a kill leaves nothing behind.
"""

import errno
import hashlib
import os
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

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


CACHE_MIB = 16
"""What SQLite holds in memory of its file."""
SCHEMA = """
CREATE TABLE statements (number INTEGER PRIMARY KEY, task_id TEXT, problem_id TEXT UNIQUE, shingles BLOB);
CREATE TABLE buckets (band INTEGER, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Sketch:
    """A statement as the index compares it: its buckets as 64-bit hashes, and its shingles."""

    bands: list[int]
    shingles: "NDArray[numpy.uint32]"


class StatementIndex:
    """Statements by the bands of their MinHash sketch, and by their problem's id: a context around a temporary file."""

    def __init__(self, similarity: float, permutations: int, shingle_words: int) -> None:
        from datasketch import MinHash, MinHashLSH

        self._empty = MinHash(num_perm=permutations, hashfunc=int)
        self._ranges = MinHashLSH(threshold=similarity, num_perm=permutations).hashranges
        self._shingle_words = shingle_words

    def __enter__(self) -> Self:
        with tempfile.NamedTemporaryFile(prefix="statements-") as file:
            self._database = sqlite3.connect(file.name, isolation_level=None)
            # Nobody reads what a kill leaves of the file, so it need not survive one.
            self._database.executescript(
                f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_MIB << 10}; {SCHEMA} BEGIN"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def first_of(self, problem_id: str) -> str | None:
        """The task whose statement is that of this problem."""
        row = self._database.execute("SELECT task_id FROM statements WHERE problem_id = ?", (problem_id,)).fetchone()
        return None if row is None else row[0]

    def sketch(self, statement: str) -> Sketch:
        """The statement made ready for comparison."""
        import numpy

        shingles = statement_shingles(statement, self._shingle_words)
        minhash = self._empty.copy()
        minhash.update_batch(shingles)
        parts = (b"%d %s" % (start, minhash.hashvalues[start:end].tobytes()) for start, end in self._ranges)
        digests = (hashlib.blake2b(part, digest_size=8).digest() for part in parts)
        bands = [int.from_bytes(digest, "little", signed=True) for digest in digests]
        return Sketch(bands, numpy.fromiter(shingles, numpy.uint32, len(shingles)))

    def most_similar(self, sketch: Sketch) -> tuple[float, tuple[str, str]] | None:
        """The greatest Jaccard similarity to a statement that shares a bucket, with its task and problem."""
        import numpy

        ours = sketch.shingles
        marks = ", ".join("?" * len(sketch.bands))
        found = self._database.execute(
            "SELECT task_id, problem_id, shingles FROM statements WHERE number IN "
            f"(SELECT number FROM buckets WHERE band IN ({marks}))",
            sketch.bands,
        )
        similar = []
        for task_id, problem_id, shingles in found:
            theirs = numpy.frombuffer(shingles, numpy.uint32)
            common = numpy.intersect1d(ours, theirs, assume_unique=True).size
            similar.append((common / (ours.size + theirs.size - common), (task_id, problem_id)))
        return max(similar, default=None)

    def add(self, task_id: str, problem_id: str, sketch: Sketch) -> None:
        """Add a statement whose problem is not in the index yet."""
        try:
            new = self._database.execute(
                "INSERT INTO statements (task_id, problem_id, shingles) VALUES (?, ?, ?)",
                (task_id, problem_id, sketch.shingles.tobytes()),
            )
            buckets = [(band, new.lastrowid) for band in sketch.bands]
            self._database.executemany("INSERT INTO buckets VALUES (?, ?)", buckets)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir()) from error
