"""Which run holds a problem, where the run's results lie, and what a piece of an id means."""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.results import ResultLayout
from synth.tables import WorkTables
from xcoder_train.core.errors import InputError
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.records import readable
from xcoder_train.core.stage import RESULT_FILE

MANIFEST = "manifest.json"
DEFAULT_RUNS = Path("runs")
SHOWN = 5
"""How many ids or runs a message names."""


@dataclass(frozen=True)
class RunResults:
    """What a run has finished, as its manifest stands: results of earlier settings are not among it."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        return read_json(self.folder / MANIFEST)

    def result(self, stage: str) -> Path | None:
        """The folder of a stage's finished result, in this run or in the one that it took the result from."""
        stages = self.manifest.get("stages", {})
        entries = [stages[stage]] if stage in stages else []
        entries += [other["inputs"][stage] for other in stages.values() if stage in other["inputs"]]
        for entry in entries:
            # A run that was moved is found where it is now, not where its manifest says that it was.
            for folder in (self.folder / stage / str(entry["key"]), Path(entry["folder"])):
                if (folder / RESULT_FILE).is_file():
                    return folder
        return None

    def evaluations(self) -> dict[str, Path]:
        """The folder of each model's finished evaluation, by label."""
        folder = self.folder / "evaluation"
        if not (folder / RESULT_FILE).is_file():
            return {}
        models = read_json(folder / RESULT_FILE).get("models", {})
        return {label: folder / name for label, name in models.items() if ResultLayout(folder / name).scores.is_file()}


Target = tuple[str | None, str | None]
"""A problem's id and None, or None and the id of a task that never became one."""


@dataclass(frozen=True)
class Known:
    """One thing that a run can tell of: a problem, or (`problem_id` None) a task or row that never became one."""

    problem_id: str | None
    task_id: str | None = None
    source: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What it goes by: the id of its problem or task, and its benchmark's name for it, as in `abc387_b`."""
        named = self.source.partition(":")[2] if self.source else None
        return tuple(name for name in (self.problem_id, self.task_id, named) if name)

    @property
    def target(self) -> Target:
        """What is traced when one of its names is asked for."""
        return (self.problem_id, None) if self.problem_id else (None, self.task_id)


@dataclass(frozen=True)
class Found:
    """A problem and every task that states it, or (`problem_id` None) a task that never became a problem."""

    run: RunResults
    problem_id: str | None
    task_ids: tuple[str, ...]


def find(wanted: str, run: Path | None, overrides: Sequence[str]) -> Found:
    """The one thing that `wanted` (an id or the beginning of one) means in the given run, or in all below `runs/`.

    `run` is a run's folder, a folder with several, or a recipe, over which `overrides` are laid. Raises `InputError`
    where nothing or several things are meant, or several runs hold what is meant.
    """
    folders = run_folders(run, overrides)
    holders: list[Found] = []
    known: list[Known] = []
    for folder in folders:
        results = RunResults(folder)
        here = list(known_in(results))
        meant = _meant(wanted, here)
        if len(meant) > 1:
            names = _some(sorted(meant.values()))
            raise InputError(f"{wanted} is the beginning of {len(meant):,} ids in {folder}: {names}. Give more of it.")
        for problem_id, task_id in meant:
            tasks = [one.task_id for one in here if one.task_id and one.problem_id == problem_id]
            holders.append(Found(results, problem_id, (task_id,) if task_id else tuple(dict.fromkeys(tasks))))
        known += here
    if len(holders) > 1:
        runs = _some([str(found.run.folder) for found in holders])
        raise InputError(
            f"{len(holders)} runs know {wanted}: {runs}. Name one: xcoder trace {wanted} {holders[0].run.folder}"
        )
    if not holders:
        where = str(folders[0]) if len(folders) == 1 else f"any of the {len(folders)} runs in {folders[0].parent}"
        near = near_matches(wanted, known)
        hint = f"nearest: {_some(near)}" if near else f"{len({one.target for one in known}):,} others are there"
        raise InputError(f"there is no problem or task {wanted} in {where}; {hint}")
    return holders[0]


def run_folders(run: Path | None, overrides: Sequence[str]) -> list[Path]:
    """The folders of the runs to look in. Raises `InputError` where there are none."""
    place = DEFAULT_RUNS if run is None else run
    if place.is_file():
        from xcoder_train.recipe import load_recipe

        place = load_recipe(place, overrides).run_folder
    elif overrides:
        raise InputError(f"overrides go with a recipe, and {place} is none: {' '.join(overrides)}")
    if (place / MANIFEST).is_file():
        return [place]
    below = sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
    if not below:
        raise InputError(
            f"there is no run in {place}. Name a run's folder or a recipe: xcoder trace PROBLEM_ID runs/NAME"
        )
    return below


def known_in(run: RunResults) -> Iterator[Known]:
    """Everything that the run's tables name, from synthesis to the benchmarks of its evaluations."""
    folder = run.result("synth")
    if folder is not None:
        tables, stated = WorkTables(folder), folder / "work" / "stated.parquet"
        for path in (tables.verdicts, stated if stated.exists() else SynthLayout(folder).memberships):
            yield from (Known(row["problem_id"], row.get("task_id")) for row in columns(path, "problem_id", "task_id"))
        for path in (tables.set_aside("tasks"), tables.quarantine):
            yield from (Known(None, row["task_id"]) for row in columns(path, "task_id", "index") if row["index"] < 0)
    for folder in run.evaluations().values():
        rows = columns(ResultLayout(folder).problems, "problem_id", "source")
        yield from (Known(row["problem_id"], None, row["source"]) for row in rows)


def near_matches(wanted: str, known: Iterable[Known]) -> list[str]:
    """At most three names that differ a little from what was asked for."""
    end = 4  # one slip leaves the first or the last characters as they are; comparing everything would take seconds
    names = {name for one in known for name in one.names if name[:end] == wanted[:end] or name[-end:] == wanted[-end:]}
    return difflib.get_close_matches(wanted, sorted(names), n=3, cutoff=0.7)


def columns(path: Path, *names: str) -> list[dict[str, Any]]:
    """Those of the columns that a Parquet file has, by row; nothing where there is no file."""
    import pyarrow.parquet

    if not path.exists():
        return []
    with readable(path), pyarrow.parquet.ParquetFile(path) as table:
        return table.read(columns=[name for name in names if name in table.schema_arrow.names]).to_pylist()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `InputError` for a damaged file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold what a run writes there: expected an object")
    return value


def _meant(wanted: str, known: Sequence[Known]) -> dict[Target, str]:
    """What has that name, or else what begins with it, each with that name."""
    has_problem = {one.task_id for one in known if one.problem_id}
    # An answer that was set aside on the way to a task names that task: it is no second thing.
    things = [one for one in known if one.problem_id or one.task_id not in has_problem]
    exact = {one.target: wanted for one in things if wanted in one.names}
    return exact or {one.target: name for one in things for name in one.names if name.startswith(wanted)}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
