"""Whether a model's training data was checked against a benchmark: a part of every score, and loud when unknown."""

import json
from pathlib import Path
from typing import Any

from xcoder_train.core.errors import InputError

DECONTAMINATION_FILE = "decontamination.json"
FIELDS = ("sets", "check", "removed")


def decontamination_status(synth_folder: Path | None, benchmark: str) -> dict[str, Any]:
    """What is known of the data that a model was trained on: {"status", "said", …}.

    `synth_folder` is the finished synthesis that the model was trained on, or None where this project did not train
    it. A synthesis whose rows were checked holds `decontamination.json`: the `sets` that were checked against, the
    `check`, and how many tasks it `removed`.
    """
    if synth_folder is None:
        return {"status": "unknown", "said": "the model was trained elsewhere, on data that is not known here"}
    if benchmark == "heldout":
        return {"status": "held out", "said": "held out of the synthesis that the model was trained on"}
    path = synth_folder / DECONTAMINATION_FILE
    if not path.exists():
        return {"status": "unknown", "said": f"the training data was not checked: {synth_folder} has no {path.name}"}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or any(name not in found for name in FIELDS):
        raise InputError(f"{path} must be a JSON object with {', '.join(FIELDS)}")
    sets = [str(name) for name in found["sets"]]
    known = {"sets": sets, "check": found["check"], "removed": found["removed"]}
    if not {benchmark, benchmark.partition(":")[0]} & set(sets):
        checked = ", ".join(sets) or "nothing"
        return {"status": "unknown", "said": f"the training data was checked against {checked}, not this", **known}
    said = f"the training data was checked ({found['check']}; removed: {found['removed']})"
    return {"status": "checked", "said": said, **known}
