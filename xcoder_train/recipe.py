"""A recipe: one YAML file that says what to synthesise, train and measure, composed of every part's settings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from reward.config import JudgeSettings
from synth.config import SynthSettings
from xcoder_train.ablation.settings import AblationSettings
from xcoder_train.config import (
    EvaluationStageSettings,
    GrpoSettings,
    InputSettings,
    ModelSettings,
    ReportSettings,
    SftSettings,
    TrackingSettings,
)
from xcoder_train.core.errors import InputError
from xcoder_train.core.settings import Settings, expanded
from xcoder_train.core.yaml_source import Flaw, Located, merge, read_override, read_yaml_file
from xcoder_train.slurm_settings import SlurmSettings

Value = TypeVar("Value")

StageName = Literal["synth", "sft", "grpo", "evaluation", "report"]
STAGES: tuple[StageName, ...] = ("synth", "sft", "grpo", "evaluation", "report")


class Recipe(Settings):
    """Everything a run is told. A stage runs when its section is there; the report follows an evaluation."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """The run's name, and its folder below `runs_dir`: letters, digits, `.`, `_` and `-`. The recipe file's name when
    left out."""

    runs_dir: Path = Field(default=Path("runs"), validate_default=False)
    """The folder that holds a folder for each run."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """What every random choice of the run derives from."""

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

    def has(self, stage: StageName) -> bool:
        """True when this recipe runs the stage."""
        return getattr(self, "evaluation" if stage == "report" else stage) is not None

    def has_result(self, stage: StageName) -> bool:
        """True when a later stage may read this one's result: the recipe runs it, or `inputs` names it."""
        return self.has(stage) or getattr(self.inputs, stage, None) is not None


def present(value: Value | None) -> Value:
    """A section or path that the caller knows to be there, because its stage would not run without it."""
    if value is None:
        raise RuntimeError("a stage was asked for whose section the recipe lacks")
    return value


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and what it extends, lay the overrides over it, and check all of it.

    Raises one InputError that lists every mistake with its file, line, dotted path, value, what was expected and
    the nearest valid name.
    """
    root, recipe, mistakes = examine_recipe(Path(path), overrides)
    if recipe is None:
        many = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "1 mistake"
        raise InputError("\n".join([f"{path}: {many} in the recipe", *(f"  {mistake}" for mistake in mistakes)]))
    return recipe


def examine_recipe(path: Path, overrides: Sequence[str]) -> tuple[Located, Recipe | None, list[str]]:
    """The merged source, the recipe when it is free of mistakes, and the mistakes otherwise."""
    from xcoder_train.fitted import fitted
    from xcoder_train.recipe_checks import find_conflicts
    from xcoder_train.recipe_mistakes import Mistake, mistakes_of, secret_mistakes, training_mistakes, without

    flaws: list[Flaw] = []
    root = read_source(path, overrides, flaws)
    mistakes: list[Mistake] = training_mistakes(root)
    # What is wrong is taken out and the rest validated again, so that conflicts between sound sections show too.
    values = without(root.plain(), [mistake.path for mistake in mistakes])
    recipe: Recipe | None = None
    while recipe is None:
        try:
            recipe = _validate(values)
        except ValidationError as error:
            found = mistakes_of(error, root)
            mistakes += [mistake for mistake in found if not any(mistake.follows(earlier) for earlier in mistakes)]
            rest = without(values, [mistake.path for mistake in found])
            if rest == values:  # only a default of ours can be wrong where nothing was written
                raise
            values = rest
    recipe = fitted(recipe)
    for conflict in find_conflicts(recipe):
        if not any(mistake.touches(conflict.paths) for mistake in mistakes):
            mistakes.append(Mistake(conflict.paths[0], conflict.message, root))
    said = {mistake.path for mistake in mistakes}
    mistakes += [mistake for mistake in secret_mistakes(root) if mistake.path not in said]
    told = [(mistake.order(), str(mistake)) for mistake in mistakes]
    told += [((flaw.place.source, flaw.place.line or 0), str(flaw)) for flaw in flaws]
    return root, None if told else recipe, [text for _, text in sorted(told)]


def stored_recipe(values: dict[str, Any], source: Path) -> Recipe:
    """A recipe as a run has stored it. Settings that this version no longer has are left out."""
    values = json.loads(json.dumps(values))
    while True:
        try:
            return _validate(values)
        except ValidationError as error:
            unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
            if not unknown:
                raise InputError(
                    f"{source} holds a recipe that this version cannot read: {error.errors()[0]['msg']}. Give this run "
                    "a folder of its own (name=…)"
                ) from error
            for *above, name in unknown:
                here: Any = values
                for part in above:  # a location also names the class that a value was read as
                    here = here[part] if isinstance(part, int) or part in here else here
                here.pop(str(name), None)


def read_source(path: Path, overrides: Sequence[str], flaws: list[Flaw]) -> Located:
    """The recipe's tree: the files that it extends below it, the overrides above it. `flaws` of the files are added."""
    root = _read_extended(path, (), flaws)
    unreadable = []
    for override in overrides:
        try:
            laid = read_override(override)
            if "extends" in laid.value:
                raise InputError(f"override '{override}': `extends` can only stand in a file")
            root = merge(root, laid)
        except InputError as error:
            unreadable.append(str(error))
    if unreadable:
        raise InputError("\n".join(unreadable))
    if "name" not in root.value:
        root.value["name"] = Located(path.stem, root.place)
    return root


def _read_extended(path: Path, above: tuple[Path, ...], flaws: list[Flaw]) -> Located:
    root = read_yaml_file(path, flaws)
    if not isinstance(root.value, dict):
        raise InputError(f"{root.place}: expected a recipe, a mapping of sections such as `synth:` and `sft:`")
    if not above:  # of the files, this one is kept as it is, comments and all
        from xcoder_train.recipe_mistakes import secrets_in_comments

        flaws += secrets_in_comments(path)
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    if not isinstance(extends.value, str):
        raise InputError(f"{extends.place}: extends: expected the path of another recipe, found {extends.plain()!r}")
    chain = (*above, path.resolve())
    try:
        below = path.parent / expanded(extends.value)
    except ValueError as error:
        raise InputError(f"{extends.place}: extends: {error}") from error
    if below.resolve() in chain:
        raise InputError(f"{extends.place}: extends: {extends.value} leads back to itself")
    if not below.is_file():
        raise InputError(f"{extends.place}: extends: there is no file {below}")
    return merge(_read_extended(below, chain, flaws), root)


def _validate(values: object) -> Recipe:
    """Validate as JSON in strict mode: lists become tuples, but `"8"` is no number and `1` is not true."""
    return Recipe.model_validate_json(json.dumps(values), strict=True)
