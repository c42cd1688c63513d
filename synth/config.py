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
        raise ValueError("style weights must be non-negative with a positive sum, as in {atcoder: 1, leetcode: 3}")
    return styles


StyleWeights = Annotated[dict[Style, float], AfterValidator(check_style_weights)]


class ProceduralTeacherSettings(Settings):
    """The built-in teacher: composes typed operations into tasks whose truth is known. Needs no model."""

    kind: Literal["procedural"] = "procedural"
    """Chooses this teacher, which is also the one without a `kind`."""

    features: tuple[str, ...] = ()
    """Branches of the feature tree to draw operations from, such as `list operation/map`; the whole tree when empty."""

    variable_names: int = Field(default=3, ge=1, le=3)
    """Names from which programs choose one for their main variable. With 1, a very small model learns more easily."""

    wrong_rate: float = Field(default=0.15, ge=0, le=1)
    """Share of candidate solutions that contain a plausible mistake."""

    common_mistake_rate: float = Field(default=0.3, ge=0, le=1)
    """Share of these mistakes that are the same for all candidates of a task, as those of one model often are."""

    broken_rate: float = Field(default=0.02, ge=0, le=1)
    """Share of candidate answers that crash, do not parse, or hold no code block."""

    @field_validator("features")
    @classmethod
    def _branches_exist(cls, branches: tuple[str, ...]) -> tuple[str, ...]:
        for branch in branches:
            if not any(path.startswith(branch) for path in OPERATIONS):
                known = sorted({"/".join(path.split("/")[:2]) for path in OPERATIONS})
                raise ValueError(f"no operation is below `{branch}`; the branches are {', '.join(known)}")
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
    """Tasks that are begun for this split; some are dropped on the way, and the printed funnel says why."""

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
    """Inputs are dropped if a smaller share of the candidates gave the winning label."""

    minimum_task_agreement: float = Field(default=0.7, ge=0, le=1)
    """Tasks are dropped if a smaller share of the candidates, averaged over all inputs, gave the winning labels."""

    minimum_tests: int = Field(default=4, ge=1)
    """Tasks with fewer labelled tests than this are dropped."""

    hold_out: float = Field(default=0, ge=0, lt=1)
    """Share of the tests that are held out: who leads on the others must lead on these too to be golden; 0 for none."""

    drop_unsolved: bool = True
    """Drop tasks on which no candidate passes every test. Every kept task then has a golden solution that passes all,
    and neither weights nor the hold-out change it: they matter only for the tasks that this setting drops."""

    drop_solved_by_one: bool = True
    """Drop tasks on which only one candidate passes every test: their labels rest on one program."""


class CleaningSettings(Settings):
    """Removal of near-duplicates, within and across splits, and of tasks that evaluation sets contain."""

    similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of their statements' shingles (runs of words) from which two tasks are near-duplicates.

    Exact duplicates are always removed. At 0.8, two statements of 30 words or more that differ in one word are
    near-duplicates. The procedural teacher's statements are templates, so below 0.7 tasks of different meaning are
    removed too.
    """

    shingle_words: int = Field(default=3, ge=1)
    """Words in a shingle."""

    permutations: int = Field(default=128, ge=16)
    """MinHash permutations."""

    decontaminate: tuple[Path, ...] = ()
    """Evaluation sets (in LiveCodeBench's format, or JSON lines or Parquet with a column of statements) that training
    tasks are compared with. `decontamination.json` in the result says what was compared."""

    ngram_words: int = Field(default=5, ge=2)
    """Words of an n-gram in that comparison; docs/cleaning.md measures this default and the next two."""

    ngram_share: float = Field(default=0.2, ge=0, le=1)
    """A task is removed if it shares at least this share of the shorter statement's n-grams with an evaluation problem;
    with 0, one n-gram in common is enough."""

    boilerplate: int | None = Field(default=3, ge=1)
    """N-grams that more evaluation problems than this have in common are stock phrases, such as "the first line of the
    input contains", and are not compared; null compares all."""

    window: tuple[date | None, date | None] = (None, None)
    """First and last day of the evaluation problems that are compared, such as [2024-08-01, null] for those from
    August 2024 on; problems without a date are always compared. Training tasks have no date: all of them are compared,
    whatever the window."""

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
    """Names for ranges of the share of candidates that pass every test, and a bound on easy problems in the RL dataset.

    X-Coder's tasks have no easy tail (its Table 10), and reinforcement learning learns little from problems that every
    rollout solves; so the share of easy problems is a setting.
    """

    bins: dict[str, float] = {"easy": 0.9, "medium": 0.5, "hard": 0.0}
    """Name of each bin, easiest first, with the lowest pass rate that belongs to it; that of the last bin is 0."""

    easy_tail: float = Field(default=1.0, ge=0, le=1)
    """Largest share of the easiest bin among the rows of the RL dataset. Problems beyond it, drawn by the seed, are
    left out of that dataset and stay in the tables."""

    @field_validator("bins")
    @classmethod
    def _bins_fall(cls, bins: dict[str, float]) -> dict[str, float]:
        least = list(bins.values())
        if not least or least[-1] != 0 or least[0] > 1 or any(a <= b for a, b in zip(least, least[1:], strict=False)):
            raise ValueError("bins need falling pass rates, 1 at most and 0 at last, such as {easy: 0.9, hard: 0}")
        return bins

    def bin_of(self, pass_rate: float | None) -> str | None:
        """The bin of a problem; None where the pass rate is not known."""
        return None if pass_rate is None else next(name for name, least in self.bins.items() if pass_rate >= least)


class TimeLimitSettings(Settings):
    """How the time limit of a task follows from the run times of its golden solution: as tight as a grid allows.

    A limit that is the same for all tasks lets a quadratic solution pass where a linear one needs a millisecond.
    Measured times differ from run to run, and limits should not, so a limit takes one of a few values.
    """

    factor: float = Field(default=5.0, ge=1)
    """The limit is at least this many times the slowest run of the golden solution."""

    grid: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """The CPU seconds that a limit can have, rising."""

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
    """Published sets that take the place of synthesis, in order of precedence; each becomes a split. There is no
    teacher then, and nothing is verified. Only `cleaning`, `solutions_per_task` and the limits apply too."""

    teacher: Annotated[TeacherSettings, Discriminator(_teacher_kind)] = ProceduralTeacherSettings()
    """Who writes tasks, inputs and solutions: `kind` is `procedural` (built in), `openai` (any server that speaks that
    protocol), `vllm` or `transformers` (a model in this process)."""

    splits: dict[str, SplitSettings] = {}
    """The sets of tasks, by name. Splits for evaluation use combinations of features that no other split uses."""

    styles: StyleWeights = {"codeforces": 0.7, "atcoder": 0.15, "leetcode": 0.15}
    """Mix of statement styles; LeetCode tasks are function problems, the others read standard input."""

    inputs_per_task: int = Field(default=15, ge=2)
    """Test inputs generated for each task."""

    candidates_per_task: int = Field(default=8, ge=2)
    """Candidate solutions asked for each task."""

    solutions_per_task: int | None = Field(default=None, ge=1)
    """Most accepted solutions of a task that the SFT dataset gets; all when left out. The tables keep all."""

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
    """Give each kept task a time limit that follows from its golden solution's measured run times, instead of
    `limit_seconds`. Two runs may then differ in a limit, by one step of the grid; a run that was killed keeps its
    times. When left out, no measured time affects the datasets."""

    difficulty: DifficultySettings = DifficultySettings()
    """How difficulty is named in the datasets, and how many easy problems the RL dataset holds."""

    expected: ExpectedSettings = ExpectedSettings()
    """What `xcoder plan` assumes; does not affect the result."""

    push_to: PushSettings | None = None
    """Where `xcoder push-data` publishes the datasets; does not affect the result."""

    executor: Literal["local", "ray"] | None = None
    """Where candidates are executed; when left out, as `judge.executor` says. The datasets are the same either way."""

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
                raise ValueError(f"split name {name!r} may hold letters, digits, '-' and '_' only, as task ids do")
        return splits

    @model_validator(mode="after")
    def _tasks_come_from_one_place(self) -> "SynthSettings":
        if not self.imports and not self.splits:
            raise ValueError("needs `splits`, tasks for a teacher to make, or `import`, published sets to bring in")
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
