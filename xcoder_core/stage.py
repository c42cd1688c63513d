"""What a stage is handed: its folder, its seed, its inputs. What it leaves: files, and a note of what they cost.

Of synthesis, whose files every later stage reads, the layout is here, and the record that says which split a problem is
in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xcoder_core.errors import InputError
from xcoder_core.files import JsonObject, read_object, write_json


@dataclass(frozen=True)
class Below:
    """A path below the `folder` of the object that it is read from, for the layouts of folders."""

    path: str

    def __get__(self, owner: Any, kind: type | None = None) -> Path:
        return Path(owner.folder, self.path)


@dataclass(frozen=True, slots=True)
class Membership:
    """Which split a kept problem belongs to, and how many operations it composes."""

    problem_id: str
    split: str
    use: str
    depth: int


@dataclass(frozen=True)
class SynthLayout:
    """Where each table of a finished synthesis stands, below the stage's folder."""

    folder: Path

    problems = Below("problems.parquet")
    """`Problem` records, kept ones only, by problem_id."""
    tests = Below("tests.parquet")
    """Labelled `TestCase` records, by (problem_id, index)."""
    solutions = Below("solutions.parquet")
    """Every judged candidate `Solution`, accepted or not, by (problem_id, index)."""
    memberships = Below("memberships.parquet")
    """`Membership` records, by problem_id."""
    solution_answers = Below("work/answers/solutions.parquet")
    """What a language model answered when it was asked for solutions, with token counts; not there otherwise."""
    funnel = Below("funnel.json")
    """JSON: per split, how many tasks were made, dropped by reason, and kept."""
    decontamination = Below("decontamination.json")
    """JSON: which evaluation sets the tasks were compared with, by what check, and how many were removed."""

    def dataset(self, use: str) -> Path:
        """Folder of the `sft` or `rl` dataset: `train.parquet` and a card; opens with `datasets.load_dataset`."""
        return self.folder / "datasets" / use


RESULT_FILE = "stage.json"


@dataclass(frozen=True)
class StageContext:
    """Where one stage of one run works; without a run, `run`, `name` and `key` are what you like to call it.

    `folder` belongs to the stage alone and is named after its key. `inputs` maps the name of an earlier stage
    ("synth", "sft", …) to the folder of its finished result. `start_tracking` begins the stage's run in a tracker, and
    returns the names by which the Trainer reports to it.
    """

    run: str
    name: str
    key: str
    folder: Path
    seed: int
    inputs: Mapping[str, Path]
    start_tracking: Callable[["StageContext"], list[str]] = lambda context: []

    @property
    def start(self) -> Path | None:
        """The model that an input has trained, for a stage that goes on with one; None without such an input."""
        trained = [folder / "model" for stage, folder in self.inputs.items() if stage not in ("synth", "rates")]
        return trained[-1] if trained else None

    def finish(self, **figures: object) -> None:
        """Mark the stage as whole. `figures` are what the report and the manifest show of it (JSON values)."""
        write_json(self.folder / RESULT_FILE, {"stage": self.name, "key": self.key, **figures})


def read_result(folder: Path) -> JsonObject:
    """What a stage left in its `stage.json`: stage, key and figures. Raises InputError where it is not finished."""
    if not (folder / RESULT_FILE).is_file():
        raise InputError(f"{folder} is no finished stage: there is no {RESULT_FILE} in it")
    return read_object(folder / RESULT_FILE)


def key_of_result(folder: Path) -> str:
    """The key of a finished result. Raises InputError where it has none."""
    key = read_result(folder).get("key")
    if not isinstance(key, str):
        raise InputError(f"{folder / RESULT_FILE} names no key, so it cannot be an input")
    return key


def find_result(given: Path, stage: str) -> Path:
    """The folder of a stage's finished result: `given` itself, or the newest in the run's folder `given`.

    Raises InputError where there is none.
    """
    if not given.is_dir():
        raise InputError(f"there is no folder {given}; expected a run's folder or a result of {stage}")
    if (given / RESULT_FILE).is_file() and read_result(given).get("stage") == stage:
        return given
    finished = [path.parent for path in given.glob(f"{stage}/*/{RESULT_FILE}")]
    if not finished:
        raise InputError(f"{given} holds no finished {stage}; expected {given / stage}/<key>/{RESULT_FILE}")
    return max(finished, key=lambda folder: (folder / RESULT_FILE).stat().st_mtime_ns)
