"""Settings of synthesis: the teacher, the splits to make, and how labels are verified."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from synth.features.config import FeatureSettings
from synth.language_model.config import (
    ExpectedSettings,
    InputSettings,
    LocalTeacherSettings,
    OpenAITeacherSettings,
    SolutionSettings,
    TaskSettings,
)
from synth.procedural.pipeline import OPERATIONS
from synth.published.files import ImportSettings
from synth.push import PushSettings
from xcoder_core.problem import Limits
from xcoder_core.settings import Settings

Style = Literal["codeforces", "atcoder", "leetcode"]

MAXIMUM_DEPTH = 6
"""Deeper pipelines repeat themselves or lose all their values on the way."""


def check_style_weights(styles: dict[Style, float]) -> dict[Style, float]:
    """The weights as they are; raises `ValueError` where no style could be drawn from them."""
    if not styles or min(styles.values()) < 0 or sum(styles.values()) <= 0:
        raise ValueError(
            "style weights must be non-negative with a positive sum, such as {codeforces: 0.7, atcoder: 0.3}"
        )
    return styles


StyleWeights = Annotated[dict[Style, float], AfterValidator(check_style_weights)]


class ProceduralTeacherSettings(Settings):
    """The built-in teacher: composes typed operations into tasks whose truth is known. Needs no model."""

    kind: Literal["procedural"] = "procedural"
    """Chooses this teacher, as no `kind` does."""

    features: tuple[str, ...] = ()
    """Branches of the feature tree to draw operations from, such as `list operation/map`; the whole tree when empty."""

    variable_names: int = Field(default=3, ge=1, le=3)
    """Names that programs choose from for their main variable. One is easier for a model of very few parameters."""

    wrong_rate: float = Field(default=0.15, ge=0, le=1)
    """Share of candidate solutions that contain a plausible mistake."""

    common_mistake_rate: float = Field(default=0.3, ge=0, le=1)
    """Share of those mistakes that are the task's one common mistake, as several candidates of a model share one."""

    broken_rate: float = Field(default=0.02, ge=0, le=1)
    """Share of candidate answers that crash, do not parse, or hold no code block."""

    @field_validator("features")
    @classmethod
    def _branches_exist(cls, branches: tuple[str, ...]) -> tuple[str, ...]:
        for branch in branches:
            if not any(path.startswith(branch) for path in OPERATIONS):
                known = sorted({"/".join(path.split("/")[:2]) for path in OPERATIONS})
                raise ValueError(f"no operation stands below `{branch}`; the branches are {', '.join(known)}")
        return branches


def _teacher_kind(value: object) -> object:
    """A teacher without `kind` is the procedural one."""
    return value.get("kind", "procedural") if isinstance(value, dict) else getattr(value, "kind", None)


TeacherSettings = (
    Annotated[ProceduralTeacherSettings, Tag("procedural")]
    | Annotated[OpenAITeacherSettings, Tag("openai")]
    | Annotated[LocalTeacherSettings, Tag("vllm")]
    | Annotated[LocalTeacherSettings, Tag("transformers")]
)


class SplitSettings(Settings):
    """One set of tasks with one use."""

    use: Literal["sft", "rl", "evaluation"]
    """`sft` tasks carry solutions, `rl` tasks only tests, `evaluation` tasks are held out from both."""

    tasks: int = Field(ge=1)
    """How many subtrees are sampled for this split; some tasks are dropped on the way, and the funnel says why."""

    depth: tuple[int, ...] = (1, 2, 3)
    """How many operations of the feature tree a task composes; each depth gets an equal share."""

    styles: StyleWeights | None = None
    """Style mix of this split where it differs from `synth.styles`."""

    @field_validator("depth")
    @classmethod
    def _depths_are_positive(cls, depth: tuple[int, ...]) -> tuple[int, ...]:
        if not depth or min(depth) < 1 or max(depth) > MAXIMUM_DEPTH:
            raise ValueError(f"depth needs one or more numbers from 1 to {MAXIMUM_DEPTH}, such as [1, 2, 3]")
        return depth


class VerificationSettings(Settings):
    """Dual verification: candidates vote on labels, labels elect the golden solution.

    The defaults are those that docs/verification.md arrives at. The paper's way is `{vote: weighted, hold_out: 0.5,
    minimum_agreement: 0, minimum_task_agreement: 0, drop_unsolved: false, drop_solved_by_one: false}`.
    """

    vote: Literal["weighted", "majority", "em"] = "weighted"
    """How labels and the golden solution are elected.

    `majority`: the most frequent output; every test counts alike. `weighted`: the same labels, tests weighted 1 to 4 by
    input size quartile when the golden solution is chosen (X-Coder, Alg. 1). `em`: Dawid and Skene's model, which
    estimates labels and the accuracy of each candidate together (`synth/annotators.py`).
    """

    minimum_agreement: float = Field(default=0.5, ge=0, le=1)
    """Inputs whose winning label has a smaller share of the candidates are dropped."""

    minimum_task_agreement: float = Field(default=0.7, ge=0, le=1)
    """Tasks whose leading labels have a smaller share of the candidates, averaged over all inputs, are dropped."""

    minimum_tests: int = Field(default=4, ge=1)
    """Tasks with fewer labelled tests than this are dropped."""

    hold_out: float = Field(default=0, ge=0, lt=1)
    """Share of the tests on which the golden solution must hold after it led on the others; 0 for none."""

    drop_unsolved: bool = True
    """Drop tasks on which no candidate passes every test. What is kept then has a golden solution that passes all, so
    neither weights nor the hold-out can change it: they matter for the tasks that this setting drops."""

    drop_solved_by_one: bool = True
    """Drop tasks on which only one candidate passes every test: its label rests on one program."""


class CleaningSettings(Settings):
    """Removal of near-duplicates, within and across splits, and of what evaluation sets hold."""

    similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of statement shingles (words) from which two tasks count as near-duplicates.

    Exact duplicates always go. At 0.8 one changed word makes a near-duplicate in statements of some 30 words or more;
    statements of the procedural teacher are templates, so below 0.7 tasks of different meaning are removed as well.
    """

    shingle_words: int = Field(default=3, ge=1)
    """Words in a shingle."""

    permutations: int = Field(default=128, ge=16)
    """MinHash permutations."""

    decontaminate: tuple[Path, ...] = ()
    """Evaluation sets (LiveCodeBench's format, or any JSON lines or Parquet with a column of statements) from which no
    training task may be taken: `decontamination.json` in the result says what they were compared with."""

    ngram_words: int = Field(default=5, ge=2)
    """Words of an n-gram of that comparison. The defaults of this and the next two are those of docs/cleaning.md."""

    ngram_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the n-grams of the shorter statement from which a task counts as taken from an evaluation problem; with
    0, one n-gram in common is enough."""

    boilerplate: int | None = Field(default=3, ge=1)
    """N-grams that more evaluation problems than this have in common are phrases of the trade, such as "the first line
    of the input contains", and are not compared; None to compare all."""

    window: tuple[date | None, date | None] = (None, None)
    """First and last day of the evaluation problems that are compared, such as [2024-08-01, null] for those from
    August 2024 on; problems without a date are always compared. Training tasks have no date: whatever the window, all
    of them are compared with the problems in it, and none is chosen or left out by its age."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "CleaningSettings":
        first, last = self.window
        if first is not None and last is not None and first > last:
            raise ValueError(f"window is [first day, last day]; found {first} after {last}")
        names = [path.stem for path in self.decontaminate]
        if len(set(names)) < len(names):
            raise ValueError(f"two files of decontaminate have one name, by which removals name them: {names}")
        return self


class DifficultySettings(Settings):
    """How the share of candidates that pass every test is named, and how many easy problems the RL dataset holds.

    X-Coder's tasks have no easy tail (its Table 10), and reinforcement learning learns little from problems that every
    rollout solves; so the share of easy problems is a setting.
    """

    bins: dict[str, float] = {"easy": 0.9, "medium": 0.5, "hard": 0.0}
    """Name of each bin, easiest first, with the least pass rate that belongs to it; the last one is 0."""

    easy_tail: float = Field(default=1.0, ge=0, le=1)
    """Greatest share of problems of the easiest bin among the rows of the RL dataset. What is above it is left out of
    that dataset, drawn by seed, and stays in the tables."""

    @field_validator("bins")
    @classmethod
    def _bins_fall(cls, bins: dict[str, float]) -> dict[str, float]:
        least = list(bins.values())
        if not least or least[-1] != 0 or least[0] > 1 or any(a <= b for a, b in zip(least, least[1:], strict=False)):
            raise ValueError(
                "bins need falling pass rates of at most 1 that end with 0, such as {easy: 0.9, medium: 0.5, hard: 0}"
            )
        return bins

    def bin_of(self, pass_rate: float | None) -> str | None:
        """The bin of a problem; None where the pass rate is not known."""
        return None if pass_rate is None else next(name for name, least in self.bins.items() if pass_rate >= least)


class TimeLimitSettings(Settings):
    """How the limit of a task follows from the run times of its golden solution: as tight as they allow, on a grid.

    A limit that is the same for all tasks lets a quadratic solution pass where a linear one needs a millisecond.
    Measured times differ from run to run and records must not, so a limit takes one of a few values.
    """

    factor: float = Field(default=5.0, ge=1)
    """The limit is at least this many times the slowest run of the golden solution, as judges usually grant."""

    grid: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """The CPU seconds that a limit may be, rising."""

    @field_validator("grid")
    @classmethod
    def _grid_rises(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        if not grid or grid[0] <= 0 or list(grid) != sorted(set(grid)):
            raise ValueError("a grid needs one or more rising numbers of seconds above 0, such as [1, 2, 4, 8, 16]")
        return grid


LANGUAGE_MODEL_SECTIONS = ("features", "tasks", "inputs", "solutions")
"""Sections that mean nothing to the procedural teacher."""


_OF_MAKING = ("splits", "teacher", "styles", "inputs_per_task", "candidates_per_task", "executor", "verification")
NOT_FOR_IMPORTS = (*_OF_MAKING, *LANGUAGE_MODEL_SECTIONS)
"""Settings that mean nothing to an import."""


class SynthSettings(Settings):
    """Tasks that a teacher makes (`splits`), or published ones (`import`)."""

    model_config = ConfigDict(serialize_by_alias=True)

    imports: tuple[ImportSettings, ...] = Field(default=(), alias="import")
    """Published sets that are brought in instead of being synthesised, in order of precedence; each becomes a split.
    There is no teacher then, and nothing is verified: of the other settings, only `cleaning`, `solutions_per_task` and
    the limits have a meaning."""

    teacher: Annotated[TeacherSettings, Discriminator(_teacher_kind)] = ProceduralTeacherSettings()
    """Who writes tasks, inputs and solutions: `kind` is `procedural` (built in), `openai` (any server that speaks that
    protocol), `vllm` or `transformers` (a model in this process)."""

    splits: dict[str, SplitSettings] = {}
    """Split name to what it holds. Held-out splits use feature combinations that no other split uses."""

    styles: StyleWeights = {"codeforces": 0.7, "atcoder": 0.15, "leetcode": 0.15}
    """Mix of statement styles; LeetCode tasks are function problems, the others read standard input."""

    inputs_per_task: int = Field(default=15, ge=2)
    """Test inputs generated for each task."""

    candidates_per_task: int = Field(default=8, ge=2)
    """Candidate solutions asked for each task."""

    solutions_per_task: int | None = Field(default=None, ge=1)
    """Most accepted solutions that go to the SFT rows of a task; all when left out. The pool keeps every one."""

    features: FeatureSettings = FeatureSettings()
    """The feature tree that a language model makes tasks from, and the shape of the subtrees drawn from it."""

    tasks: TaskSettings = TaskSettings()
    """How a language model is asked for tasks."""

    inputs: InputSettings = InputSettings()
    """How a language model is asked for test inputs."""

    solutions: SolutionSettings = SolutionSettings()
    """Which answers of a language model count as candidate solutions."""

    limit_seconds: float = Field(default=2.0, gt=0)
    """CPU seconds that one test of a task may take."""

    limit_memory_mib: int = Field(default=512, ge=64)
    """Memory that one test of a task may take, in MiB."""

    time_limits: TimeLimitSettings | None = None
    """Give each kept task the time limit that its golden solution's measured run times call for, instead of
    `limit_seconds`; left out, no measured time has a part in the datasets. Two runs may then differ in a limit, by one
    step of the grid, where a time is close to the border; a killed run that goes on keeps its times."""

    difficulty: DifficultySettings = DifficultySettings()
    """How difficulty is named in the datasets, and how many easy problems the RL dataset holds."""

    expected: ExpectedSettings = ExpectedSettings()
    """What `xcoder plan` assumes; does not affect the result."""

    push_to: PushSettings | None = None
    """Where `xcoder push-data` publishes the datasets; does not affect the result."""

    executor: Literal["local", "ray"] | None = None
    """Where candidates are executed; as `judge.executor` says when left out. The datasets are the same bytes."""

    verification: VerificationSettings = VerificationSettings()
    cleaning: CleaningSettings = CleaningSettings()

    @property
    def limits(self) -> Limits:
        """What one test of a task may take."""
        return Limits(self.limit_seconds, self.limit_memory_mib)

    @field_validator("splits")
    @classmethod
    def _split_names_are_plain(cls, splits: dict[str, SplitSettings]) -> dict[str, SplitSettings]:
        for name in splits:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(
                    f"split name {name!r} may hold letters, digits, '-' and '_' only; it becomes part of task ids"
                )
        return splits

    @model_validator(mode="after")
    def _tasks_come_from_one_place(self) -> "SynthSettings":
        if not self.imports and not self.splits:
            raise ValueError(
                "needs `splits`, the tasks that a teacher is to make, or `import`, published sets to bring in"
            )
        for name in NOT_FOR_IMPORTS:
            if getattr(self, name) == type(self).model_fields[name].default:
                continue
            if self.imports:
                raise ValueError(
                    f"`{name}` says how tasks are made, and `import` brings in tasks that are there already; keep one "
                    "of the two. A recipe that needs both kinds runs them as two recipes"
                )
            if name in LANGUAGE_MODEL_SECTIONS and self.teacher.kind == "procedural":
                raise ValueError(
                    f"`{name}` says how a language model is asked, and the teacher is procedural; leave it out, or "
                    "give a `teacher` of kind openai, vllm or transformers"
                )
        splits = [item.split for item in self.imports]
        if len(set(splits)) < len(splits):
            raise ValueError(f"`import` names one set twice: {', '.join(splits)}")
        return self


def uses_of(settings: SynthSettings) -> dict[str, str]:
    """What each split is for, whether its tasks are made or imported."""
    made: dict[str, str] = {name: split.use for name, split in settings.splits.items()}
    return made | {item.split: item.use for item in settings.imports}


def count_tasks(settings: SynthSettings) -> int:
    """Tasks of all splits together."""
    return sum(split.tasks for split in settings.splits.values())
