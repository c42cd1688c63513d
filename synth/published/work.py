"""The working files of an import, and how far reading has come."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from synth.published.sorted_runs import SortedRuns
from synth.published.tables import FaultyRow, PooledProblem, ReadRow
from xcoder_train.core.files import write_json


@dataclass(frozen=True, slots=True)
class Position:
    """The next row to read, and how many sorted runs hold the rows before it. `rows` are the counts of whole sets."""

    rank: int = 0
    number: int = 0
    runs: int = 0
    rows: tuple[int, ...] = ()


class ImportWork:
    """Where the working files of an import lie. `run_bytes` is how much text a sorted run holds."""

    def __init__(self, folder: Path, run_bytes: int | None = None) -> None:
        self.read = SortedRuns(folder / "read", ReadRow, ("statement_key", "rank", "number"), run_bytes)
        self.faulty = SortedRuns(folder / "faulty", FaultyRow, ("rank", "number"), run_bytes)
        self.pooled = SortedRuns(folder / "pooled", PooledProblem, ("problem_id",), run_bytes)
        self.left_out = SortedRuns(folder / "left_out", FaultyRow, ("rank", "number"), run_bytes)
        self.stated = folder / "stated.parquet"
        self._position = folder / "position.json"

    def go_on(self) -> Position:
        """Where a killed run stopped reading; what it left beyond that is thrown away."""
        at = Position()
        if self._position.exists():
            stored = json.loads(self._position.read_text(encoding="utf-8"))
            at = Position(**{**stored, "rows": tuple(stored["rows"])})
        self.read.keep(at.runs)
        self.faulty.keep(at.runs)
        return at

    def write_read(self, at: Position) -> None:
        """Write what is held of the rows before `at`, then note that reading has come there."""
        self.faulty.write()
        self.read.write()
        write_json(self._position, asdict(at))

    def remove_runs(self) -> None:
        """Delete the sorted runs, once the tables are made from them."""
        for runs in (self.read, self.faulty, self.pooled, self.left_out):
            runs.keep(0)
