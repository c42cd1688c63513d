"""A recipe: one YAML file that says what to synthesise, train and measure, composed of every part's settings."""

import json
from collections.abc import Mapping, Sequence
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
from xcoder_train.core.yaml_source import (
    Flaw,
    Located,
    Place,
    located,
    merge,
    read_override,
    read_yaml_file,
)
from xcoder_train.slurm_settings import SlurmSettings

Value = TypeVar("Value")

Source = Path | str | Mapping[str, Any]
"""A recipe's file, or its sections as plain values."""

StageName = Literal["synth", "sft", "grpo", "evaluation", "report"]
STAGES: tuple[StageName, ...] = ("synth", "sft", "grpo", "evaluation", "report")

# Mappings that are one value: given by name on the command line they are replaced, where everything else merges.
_ONE_VALUE = ("styles", "environment", "bins", "completion_tokens", "percent")


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


def load_recipe(source: Source, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and what it extends, lay the overrides over it, and check all of it.

    `source` is a file or a mapping of sections. Raises one InputError that lists every mistake with its file, line,
    dotted path, value, what was expected and the nearest valid name; what does not fit together is looked for once all
    settings can be read.
    """
    _, recipe, mistakes = examine_recipe(source, overrides)
    if recipe is None:
        many = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "1 mistake"
        where = f"{source}: {many} in the recipe" if not isinstance(source, Mapping) else f"{many} in the recipe"
        raise InputError("\n".join([where, *(f"  {mistake}" for mistake in mistakes)]))
    return recipe


def examine_recipe(source: Source, overrides: Sequence[str]) -> tuple[Located, Recipe | None, list[str]]:
    """The merged source, the recipe when it is free of mistakes, and the mistakes otherwise."""
    from xcoder_train.fitted import fitted
    from xcoder_train.recipe_checks import find_conflicts
    from xcoder_train.recipe_mistakes import mistake_at, mistakes_of, secret_mistakes

    mistakes: list[Flaw] = []
    root = read_source(source, overrides, mistakes)
    recipe: Recipe | None = None
    try:
        recipe = fitted(_validate(root.plain()))
    except ValidationError as error:
        mistakes += mistakes_of(error, root)
    else:
        mistakes += [mistake_at(root, conflict.path, conflict.message) for conflict in find_conflicts(recipe)]
    known = {mistake.place for mistake in mistakes}
    mistakes += [mistake for mistake in secret_mistakes(root) if mistake.place not in known]
    mistakes.sort(key=lambda mistake: (mistake.place.source, mistake.place.line or 0))
    return root, None if mistakes else recipe, list(dict.fromkeys(map(str, mistakes)))


def stored_recipe(values: dict[str, Any], source: Path) -> Recipe:
    """A recipe as a run has stored it. Settings that this version no longer has are left out."""
    values = json.loads(json.dumps(values))
    while True:
        try:
            return _validate(values)
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
                here.pop(str(last), None)


def read_source(source: Source, overrides: Sequence[str], flaws: list[Flaw]) -> Located:
    """The recipe's tree: the files that it extends below it, the overrides above it. `flaws` of the files are added."""
    if isinstance(source, Mapping):
        root = located(source, Place("the recipe"))
    else:
        root = _read_extended(Path(source), (), flaws)
    unreadable = []
    for override in overrides:
        try:
            laid = read_override(override)
            if "extends" in laid.value:
                raise InputError(f"override '{override}': `extends` can only stand in a file")
            if (name := override.partition("=")[0]).rpartition(".")[2] in _ONE_VALUE:
                root = merge(root, read_override(f"{name}=null"))
            root = merge(root, laid)
        except InputError as error:
            unreadable.append(str(error))
    if unreadable:
        raise InputError("\n".join(unreadable))
    if "name" not in root.value and not isinstance(source, Mapping):
        root.value["name"] = Located(Path(source).stem, root.place)
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
    chain = (*above, path.resolve())
    try:
        below = path.parent / expanded(str(extends.value))
    except ValueError as error:
        raise InputError(f"{extends.place}: extends: {error}") from error
    if below.resolve() in chain:
        raise InputError(f"{extends.place}: extends: {extends.value} leads back to itself")
    if not below.is_file():
        raise InputError(f"{extends.place}: extends: there is no file {below}; expected the path of another recipe")
    return merge(_read_extended(below, chain, flaws), root)


def _validate(values: object) -> Recipe:
    """Validate as JSON in strict mode: lists become tuples, but `"8"` is no number and `1` is not true."""
    return Recipe.model_validate_json(json.dumps(values), strict=True)
