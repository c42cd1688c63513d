"""Whether a model's training data was checked against a benchmark: a part of every score, and loud when unknown."""

import hashlib
import json
from pathlib import Path
from typing import NotRequired, TypedDict

from evaluation.benchmark import Benchmark
from xcoder_core.errors import InputError

DECONTAMINATION_FILE = "decontamination.json"


class Decontamination(TypedDict):
    """What is known of the data that a model was trained on: "checked", "held out" or "unknown", and that in words.

    Where it was checked: the names of the `sets`, what `check` was made, and how many tasks it `removed`.
    """

    status: str
    said: str
    sets: NotRequired[list[str]]
    check: NotRequired[dict[str, object]]
    removed: NotRequired[int]


def decontamination_status(synth_folder: Path | None, benchmark: Benchmark) -> Decontamination:
    """What is known of a model's training data with regard to a benchmark.

    `synth_folder` is the finished synthesis that the model was trained on, or None where this project did not train
    it. Its `decontamination.json` holds the `check` and the `sets` that were compared, each with its name, the
    hash of its file (`sha256`) and the training tasks that it removed. "checked" is a benchmark all of whose
    files are among the sets, by content, and all of whose contests lie within the days that were compared.
    """
    if synth_folder is None:
        return _unknown("the model was trained elsewhere, on data that is not known here")
    if benchmark.name == "heldout":
        return {"status": "held out", "said": "held out of the synthesis that the model was trained on"}
    path = synth_folder / DECONTAMINATION_FILE
    if not path.exists():
        return _unknown(f"the training data was not checked: {synth_folder} has no {path.name}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        check, days = found["check"], found["check"]["window"]
        sets = {str(item["name"]): (str(item["sha256"]), int(item["tasks_removed"])) for item in found["sets"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what synthesis writes of its decontamination: {error!r}") from error
    # A file is only hashed where its name is among those that were compared.
    missing = [file.name for file in benchmark.files if file.stem not in sets or sets[file.stem][0] != _sha256(file)]
    if missing or not benchmark.files:
        return _unknown(
            f"the training data was checked against {', '.join(sets) or 'nothing'}, not against these files "
            f"({', '.join(missing) or benchmark.name})"
        )
    if benchmark.days is not None and not _covers(days, benchmark.days):
        return _unknown(f"the training data was checked against problems of {days}, not of all of {benchmark.days}")
    removed = sum(sets[file.stem][1] for file in benchmark.files)
    described = ", ".join(f"{name}: {value}" for name, value in check.items())
    said = f"the training data was checked ({described}); {removed} tasks like these problems were removed"
    return {"status": "checked", "said": said, "sets": list(sets), "check": check, "removed": removed}


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _covers(days: list[str | None], contests: tuple[str, str]) -> bool:
    first, last = days
    return (first is None or first <= contests[0]) and (last is None or contests[1] <= last)


def _unknown(said: str) -> Decontamination:
    return {"status": "unknown", "said": said}
