"""The stage that removes duplicates among verified tasks, within and across splits.

Candidates are found by MinHash LSH over word shingles of the statement and decided by their exact Jaccard similarity.
Tasks are taken in table order, so a training task loses against an evaluation task, and a later against an earlier.
"""

import re
import zlib
from array import array
from collections.abc import Iterator

from synth.config import CleaningSettings
from synth.tables import Removal, Verdict, WorkTables
from xcoder_train.core.progress import Progress
from xcoder_train.core.records import read_records, write_records

EXACT = "exact duplicate"
NEAR = "near-duplicate"

LSH_MARGIN = 0.85
"""The index looks this far below the similarity that counts, so that its errors lose few pairs; they are then compared
exactly."""

WORD = re.compile(r"[^\W_]+")


def remove_duplicates(settings: CleaningSettings, tables: WorkTables) -> None:
    """Write what is removed, why, and in favour of which task."""
    if tables.removals.exists():
        return
    verified = sum(verdict.reason is None for verdict in read_records(tables.verdicts, Verdict))
    with Progress("cleaning", verified, "tasks") as progress:

        def kept() -> Iterator[Verdict]:
            for verdict in read_records(tables.verdicts, Verdict):
                if verdict.reason is None:
                    yield verdict
                    progress.advance(1)

        write_records(tables.removals, Removal, find_duplicates(kept(), settings), ("task_id",))


def find_duplicates(verdicts: Iterator[Verdict], settings: CleaningSettings) -> Iterator[Removal]:
    """A removal for each task that duplicates an earlier one that stays; the most similar one is its partner."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=LSH_MARGIN * settings.similarity, num_perm=settings.permutations)
    shingles: dict[tuple[str, str], array[int]] = {}
    first_of: dict[str, str] = {}
    empty = MinHash(num_perm=settings.permutations, hashfunc=int)
    for verdict in verdicts:
        identity = (verdict.task_id, verdict.problem_id)
        if verdict.problem_id in first_of:
            yield _removal(verdict, EXACT, (first_of[verdict.problem_id], verdict.problem_id), 1.0)
            continue
        ours = statement_shingles(verdict.statement, settings.shingle_words)
        sketch = empty.copy()
        sketch.update_batch(ours)
        similar = max(
            ((_jaccard(ours, frozenset(shingles[other])), other) for other in index.query(sketch)), default=None
        )
        if similar is not None and similar[0] >= settings.similarity:
            yield _removal(verdict, NEAR, similar[1], similar[0])
            continue
        index.insert(identity, sketch, check_duplication=False)
        shingles[identity] = array("I", sorted(ours))
        first_of[verdict.problem_id] = verdict.task_id


def statement_shingles(statement: str, words: int) -> frozenset[int]:
    """CRC-32 of every run of `words` words, whatever their case and punctuation; of all words where they are fewer."""
    found = WORD.findall(statement.lower())
    runs = range(max(len(found) - words + 1, 1))
    return frozenset(zlib.crc32(" ".join(found[place : place + words]).encode()) for place in runs)


def _jaccard(ours: frozenset[int], theirs: frozenset[int]) -> float:
    common = len(ours & theirs)
    return common / (len(ours) + len(theirs) - common)


def _removal(verdict: Verdict, reason: str, partner: tuple[str, str], similarity: float) -> Removal:
    return Removal(verdict.task_id, verdict.problem_id, verdict.split, reason, *partner, similarity)
