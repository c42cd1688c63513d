"""A recipe: one YAML file that says what to synthesise, train and measure, composed of every part's settings."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from reward.config import JudgeSettings
from synth.config import SynthSettings
from xcoder_core.errors import InputError
from xcoder_core.files import JsonObject
from xcoder_core.models.settings import ModelSettings
from xcoder_core.settings import Settings
from xcoder_core.stage import find_result
from xcoder_core.yaml_source import Part
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.settings import (
    AblationSettings,
    EvaluationStageSettings,
    InputSettings,
    ReportSettings,
    SlurmSettings,
)
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import STAGES, TRAINING, StageName
from xcoder_train.training.settings import TrackingSettings, TrainedSettings


class Recipe(Settings):
    """Every setting of a run. A stage runs if the recipe has its section; the report follows an evaluation."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """The run's name, and that of its folder in `runs_dir`: letters, digits, `.`, `_` and `-`. When left out, the
    recipe file's name."""

    runs_dir: Path = Field(default=Path("runs"), validate_default=False)
    """The folder in which each run has its folder."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed from which every random choice of the run derives."""

    inputs: InputSettings = InputSettings()
    tracking: TrackingSettings = TrackingSettings()
    model: ModelSettings = ModelSettings()
    judge: JudgeSettings = JudgeSettings()
    synth: SynthSettings | None = None
    sft: SftSettings | None = None
    grpo: GrpoSettings | None = None
    evaluation: EvaluationStageSettings | None = None
    report: ReportSettings = ReportSettings()
    slurm: SlurmSettings = SlurmSettings()

    ablation: AblationSettings | None = None
    """Several variants of this recipe, for `xcoder ablate`. No stage reads it."""

    @property
    def run_folder(self) -> Path:
        """Where this run's files lie."""
        return self.runs_dir / self.name

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages that this recipe runs, in order."""
        return tuple(stage for stage in STAGES if self.has(stage))

    @property
    def trained(self) -> dict[StageName, TrainedSettings]:
        """The sections of the training stages that this recipe runs."""
        return {stage.name: getattr(self, stage.name) for stage in TRAINING.values() if self.has(stage.name)}

    def has(self, stage: StageName) -> bool:
        """True when this recipe runs the stage."""
        if stage == "rates":
            chosen = None if self.grpo is None else self.grpo.curriculum
            return chosen is not None and chosen.pass_rates is None and not chosen.bands
        return getattr(self, "evaluation" if stage == "report" else stage) is not None

    def has_result(self, stage: StageName) -> bool:
        """True when a later stage may read this one's result: the recipe runs it, or `inputs` names it."""
        return self.has(stage) or getattr(self.inputs, stage, None) is not None

    def start_of(self, stage: StageName) -> StageName | None:
        """The training stage whose model a training stage goes on with; None for the recipe's own model."""
        return next((name for name in reversed(STAGES[stage].starts_from) if self.has_result(name)), None)

    def input_folder(self, stage: StageName) -> Path:
        """The finished result that `inputs.<stage>` names. Raises InputError where there is none."""
        return find_result(Path(getattr(self.inputs, stage)), stage)


@dataclass(frozen=True)
class Conflict:
    """Two settings that do not fit together: the `path` of one, and a message that says which to change."""

    path: tuple[Part, ...]
    message: str


def conflict(message: str, dotted: str, *below: Part) -> Conflict:
    """A conflict at a dotted path, or `below` it, with settings that the message names."""
    return Conflict((*dotted.split("."), *below), message)


def refusals(dotted: str, *below: Part, by: Callable[[], object]) -> Iterator[Conflict]:
    """The error of a check as a conflict at a dotted path; nothing where the check passes."""
    try:
        by()
    except (InputError, OSError) as error:
        yield conflict(str(error), dotted, *below)


def stored_recipe(values: JsonObject, source: Path) -> Recipe:
    """A recipe as a run has stored it. Settings that this version no longer has are left out."""
    values = json.loads(json.dumps(values))
    while True:
        try:
            return validated(values)
        except ValidationError as error:
            places = {tuple(map(str, detail["loc"][:3])) for detail in error.errors()}
            training = [place for place in places if place[1:2] == ("training",) and place[2:] not in ((), ("trl",))]
            for stage, _, name in training:  # the section held every argument of TRL once
                written = values[stage]["training"]
                written.setdefault("trl", {})[name] = written.pop(name)
            if training:
                continue
            unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
            if not unknown:
                raise InputError(
                    f"{source} holds a recipe that this version cannot read: {error.errors()[0]['msg']}. Give this run "
                    "a folder of its own (name=…)"
                ) from error
            for *above, last in unknown:
                here: Any = values
                for part in above:  # a location also names the class that a value was read as
                    here = here[part] if isinstance(part, int) or part in here else here
                del here[str(last)]


def validated(values: object) -> Recipe:
    """Validate as JSON in strict mode: lists become tuples, but `"8"` is no number and `1` is not true."""
    return Recipe.model_validate_json(json.dumps(values), strict=True)
