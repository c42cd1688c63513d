"""Which run holds a problem, where its results are, and which id begins with the given text."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evaluation.measurement import ResultLayout
from synth.tables import WorkTables
from xcoder_core.errors import InputError
from xcoder_core.files import JsonObject, read_object
from xcoder_core.records import Row, readable
from xcoder_core.stage import RESULT_FILE, SynthLayout
from xcoder_train.recipe.reading import load_recipe

MANIFEST = "manifest.json"
DEFAULT_RUNS = Path("runs")
SHOWN = 5
"""How many ids or runs a message names."""


@dataclass(frozen=True)
class RunResults:
    """What a run has finished, by its manifest, so without results of earlier settings."""

    folder: Path

    @cached_property
    def stages(self) -> dict[str, JsonObject]:
        """The entry of each stage in the run's manifest."""
        return read_object(self.folder / MANIFEST).get("stages", {})

    def result(self, stage: str) -> Path | None:
        """The folder of a stage's finished result, in this run or in the one that it took the result from."""
        entries = [self.stages.get(stage), *(other["inputs"].get(stage) for other in self.stages.values())]
        for entry in filter(None, entries):
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
        models = read_object(folder / RESULT_FILE).get("models", {})
        return {label: folder / name for label, name in models.items() if ResultLayout(folder / name).scores.is_file()}


@dataclass(frozen=True)
class Found:
    """A problem and every task that states it, or (`problem_id` None) a task or row that never became a problem.

    `names` are the ids of both, and what benchmarks call it, as in `abc387_b`.
    """

    run: RunResults
    problem_id: str | None
    task_ids: tuple[str, ...]
    names: tuple[str, ...]


def find(wanted: str, run: Path | None, overrides: Sequence[str]) -> Found:
    """The one thing that `wanted` (an id or the beginning of one) means in the given run, or in all below `runs/`.

    `run` is a run's folder, a folder with several, or a recipe, over which `overrides` are laid. Raises `InputError`
    where nothing or several things are meant, or several runs hold what is meant.
    """
    folders = run_folders(run, overrides)
    holders: list[Found] = []
    known: list[Found] = []
    for folder in folders:
        here = known_in(RunResults(folder))
        meant = {one: wanted for one in here if wanted in one.names} or {
            one: name for one in here for name in one.names if name.startswith(wanted)
        }
        if len(meant) > 1:
            names = _some(sorted(meant.values()))
            raise InputError(f"{wanted} is the beginning of {len(meant):,} ids in {folder}: {names}. Give more of it.")
        holders += meant
        known += here
    if len(holders) > 1:
        runs = _some([str(found.run.folder) for found in holders])
        example = f"xcoder trace {wanted} {holders[0].run.folder}"
        raise InputError(f"{len(holders)} runs know {wanted}: {runs}. Name one: {example}")
    if not holders:
        where = str(folders[0]) if len(folders) == 1 else f"any of the {len(folders)} runs in {folders[0].parent}"
        near = near_matches(wanted, {name for one in known for name in one.names})
        others = {one.problem_id or one.task_ids for one in known}
        hint = f"nearest: {_some(near)}" if near else f"{len(others):,} others are there"
        raise InputError(f"there is no problem or task {wanted} in {where}; {hint}")
    return holders[0]


def run_folders(run: Path | None, overrides: Sequence[str]) -> list[Path]:
    """The folders of the runs to look in. Raises `InputError` where there are none."""
    place = DEFAULT_RUNS if run is None else run
    if place.is_file():
        place = load_recipe(place, overrides).run_folder
    elif overrides:
        raise InputError(f"overrides go with a recipe, and {place} is none: {' '.join(overrides)}")
    if (place / MANIFEST).is_file():
        return [place]
    below = sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
    if not below:
        example = "xcoder trace PROBLEM_ID runs/NAME"
        raise InputError(f"there is no run in {place}. Name a run's folder or a recipe: {example}")
    return below


def known_in(run: RunResults) -> list[Found]:
    """Everything that the run's tables name, from synthesis to the benchmarks of its evaluations."""
    rows: list[tuple[str | None, str | None, str | None]] = []  # a problem, a task that states it, a benchmark's name
    synth = run.result("synth")
    if synth is not None:
        tables, stated = WorkTables(synth), synth / "work" / "stated.parquet"
        for path in (tables.verdicts, stated if stated.exists() else SynthLayout(synth).memberships):
            rows += [(row["problem_id"], row.get("task_id"), None) for row in columns(path, "problem_id", "task_id")]
        # An answer that was set aside on the way to a task names that task: it is no second thing.
        made = {task_id for _, task_id, _ in rows}
        for path in (tables.set_aside("tasks"), tables.quarantine):
            lost = [row["task_id"] for row in columns(path, "task_id", "index") if row["index"] < 0]
            rows += [(None, task_id, None) for task_id in lost if task_id not in made]
    for folder in run.evaluations().values():
        problems = columns(ResultLayout(folder).problems, "problem_id", "source")
        rows += [(row["problem_id"], None, row["source"].partition(":")[2]) for row in problems]
    things = defaultdict(list)
    for row in rows:
        things[row[0] or row[1]].append(row)
    return [
        Found(
            run,
            same[0][0],
            task_ids=tuple(dict.fromkeys(task_id for _, task_id, _ in same if task_id)),
            names=tuple(name for row in same for name in row if name),
        )
        for same in things.values()
    ]


def near_matches(wanted: str, names: Iterable[str]) -> list[str]:
    """At most three names that differ a little from what was asked for."""
    end = 4  # one slip leaves the first or the last characters as they are; comparing everything would take seconds
    alike = {name for name in names if name[:end] == wanted[:end] or name[-end:] == wanted[-end:]}
    return difflib.get_close_matches(wanted, sorted(alike), n=3, cutoff=0.7)


def columns(path: Path, *names: str) -> list[Row]:
    """Those of the columns that a Parquet file has, by row; nothing where there is no file."""
    import pyarrow.parquet

    if not path.exists():
        return []
    with readable(path), pyarrow.parquet.ParquetFile(path) as table:
        return table.read(columns=[name for name in names if name in table.schema_arrow.names]).to_pylist()


def select(source: object, *names: str) -> dict[str, object]:
    """These fields of a record, or these entries of a JSON object, in the order of `names`."""
    return {name: source[name] if isinstance(source, dict) else getattr(source, name) for name in names}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
