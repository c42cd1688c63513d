"""TRL's arguments: which of them other keys of a recipe decide, and what the installed TRL says about the rest.

TRL is asked in a process of its own (`python -m xcoder_train.training.trl_arguments sft`): it takes seconds to import,
and to build its configuration sets up devices and groups of processes.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TypeVar

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import StageContext
from xcoder_train.stages import TRAINING, StageName
from xcoder_train.training.arithmetic import BatchPlan

Trainer = StageName
"""A stage that trains by one of TRL's trainers."""
Config = TypeVar("Config")

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a stage's folder."""

CONFIG: Mapping[Trainer, str] = {stage.name: stage.trainer for stage in TRAINING.values() if stage.trainer}

_DECIDED = tomllib.loads(Path(__file__).with_name("decided.toml").read_text(encoding="utf-8"))
DECIDED: Mapping[Trainer, Mapping[str, str]] = {
    trainer: {
        name: decider.format(trainer=trainer)
        for decider, names in (_DECIDED["all"] | _DECIDED[config.removeprefix("trl.")]).items()
        for name in names.split()
    }
    for trainer, config in CONFIG.items()
}
"""What decides an argument that a recipe says by other means, by the argument's name."""


def default_arguments() -> dict[str, object]:
    """Where TRL's own do not do, and a key that is left out depends on the machine."""
    import torch

    on_gpu = torch.cuda.is_available()
    return {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        "ddp_find_unused_parameters": False,  # every parameter is used; searching for others costs a pass over them
    }


def decided_arguments(context: StageContext, trainer: Trainer, batch: BatchPlan) -> dict[str, object]:
    """What both stages set, whatever `training` says."""
    import torch

    return {
        "output_dir": str(context.folder / CHECKPOINTS),
        "seed": derive_seed(context.seed, trainer, "trainer") % 2**31,
        "per_device_train_batch_size": batch.micro_batch,
        "gradient_accumulation_steps": batch.accumulation,
        "report_to": context.start_tracking(context),
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }


def built(config: Callable[..., Config], trainer: Trainer, values: Mapping[str, object]) -> Config:
    """TRL's configuration; what only it can refuse (a precision that this machine lacks, …) is an InputError too."""
    try:
        return config(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{trainer}.training: {CONFIG[trainer]} refuses it: {error}") from error


def trl_refusals(trainer: Trainer, values: Mapping[str, object]) -> Mapping[str, str]:
    """What the installed TRL says against these arguments, by their names; by "" against all of them together.

    In a multi-process run only the first process asks.
    """
    return {} if os.environ.get("RANK", "0") != "0" else _refusals(trainer, json.dumps(values, sort_keys=True))


@cache
def _refusals(trainer: Trainer, values: str) -> Mapping[str, str]:
    alone = {name: value for name, value in os.environ.items() if not name.endswith(("RANK", "_SIZE"))}
    command = [sys.executable, "-m", "xcoder_train.training.trl_arguments", trainer]
    done = subprocess.run(command, input=values, capture_output=True, text=True, env=alone)
    if done.returncode != 0:
        raise EnvironmentLacks(f"TRL cannot be asked about {trainer}.training.trl: {done.stderr.strip()}")
    return json.loads(done.stdout)


def refusals_of_installed(trainer: Trainer, values: Mapping[str, object]) -> dict[str, str]:
    """As `trl_refusals`, in this process. Imports torch."""
    import dataclasses

    import trl
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = getattr(trl, CONFIG[trainer].removeprefix("trl."))
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    strict = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    found = {}
    for name, value in values.items():
        if name not in fields:
            near = get_close_matches(name, fields.keys() - DECIDED[trainer].keys(), 1)
            meant = f"; did you mean `{near[0]}`?" if near else ""
            found[name] = f"is not an argument of {CONFIG[trainer]}{meant}"
            continue
        try:
            adapter: TypeAdapter[object] = TypeAdapter(fields[name].type, config=strict)  # type: ignore[arg-type]
            adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            expected = dict.fromkeys(each["msg"].removeprefix("Input should be ") for each in error.errors())
            found[name] = f"expected {' or '.join(expected)}"
    if not found:
        try:
            built(config, trainer, {**values, "use_cpu": True, "bf16": False, "report_to": "none"})
        except InputError as error:
            found[""] = str(error).partition(": ")[2]
    return found


def main() -> None:
    """Print as JSON what TRL says against the arguments that standard input holds as JSON."""
    refusals = refusals_of_installed(sys.argv[1], json.load(sys.stdin))  # type: ignore[arg-type]
    print(json.dumps(refusals))


if __name__ == "__main__":
    main()
