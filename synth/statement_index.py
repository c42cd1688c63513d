"""The statements that stay, on disk: which of them may be like another one, and what their shingles are.

MinHash LSH as datasketch has it, but its buckets are rows of a private SQLite file in the folder for temporary files,
so that memory stays the same for any number of statements. Once open it has no name: a kill leaves nothing of it.
"""

import errno
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from datasketch import MinHash, MinHashLSH

CACHE_MIB = 16
"""What SQLite holds in memory of its file."""
SCHEMA = """
CREATE TABLE statements (number INTEGER PRIMARY KEY, task_id TEXT, problem_id TEXT UNIQUE, shingles BLOB);
CREATE TABLE buckets (band INTEGER, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID;
"""


class StatementIndex:
    """Statements by the bands of their MinHash sketch, and by their problem's id. Use it as a context.

    Raises `OSError` where the folder for temporary files is full.
    """

    def __init__(self, similarity: float, permutations: int) -> None:
        self._empty = MinHash(num_perm=permutations, hashfunc=int)
        self._ranges = MinHashLSH(threshold=similarity, num_perm=permutations).hashranges

    def __enter__(self) -> Self:
        with tempfile.NamedTemporaryFile(prefix="statements-") as file:
            self._database = sqlite3.connect(file.name, isolation_level=None)
            # What a kill leaves of it is never read, so nothing is done for its sake.
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

    def bands(self, shingles: frozenset[int]) -> list[int]:
        """The buckets of a statement with these shingles, as 64-bit hashes."""
        sketch = self._empty.copy()
        sketch.update_batch(shingles)
        parts = (b"%d %s" % (start, sketch.hashvalues[start:end].tobytes()) for start, end in self._ranges)
        digests = (hashlib.blake2b(part, digest_size=8).digest() for part in parts)
        return [int.from_bytes(digest, "little", signed=True) for digest in digests]

    def like(self, bands: list[int]) -> Iterator[tuple[tuple[str, str], Any]]:
        """Task and problem of every statement that shares a bucket, with its shingles as an array."""
        import numpy

        marks = ", ".join("?" * len(bands))
        found = self._database.execute(
            "SELECT task_id, problem_id, shingles FROM statements WHERE number IN "
            f"(SELECT number FROM buckets WHERE band IN ({marks}))",
            bands,
        )
        for task_id, problem_id, shingles in found:
            yield (task_id, problem_id), numpy.frombuffer(shingles, numpy.uint32)

    def add(self, identity: tuple[str, str], bands: list[int], shingles: Any) -> None:
        """Take up a statement, by its task and problem, whose problem is not there yet."""
        with _full_disk_told():
            new = self._database.execute(
                "INSERT INTO statements (task_id, problem_id, shingles) VALUES (?, ?, ?)",
                (*identity, shingles.tobytes()),
            )
            self._database.executemany("INSERT INTO buckets VALUES (?, ?)", [(band, new.lastrowid) for band in bands])


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir()) from error
