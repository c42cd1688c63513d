"""An ablation: the runs that it consists of, what is held equal among them, and running those that are missing.

Every run is an ordinary `xcoder run` of the ablation's recipe with overrides, so whatever a run keeps, resumes and
refuses holds here too, and any of them can be started by hand from the printed command.
"""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from xcoder_train.ablation_settings import AblationSettings, arm_name
from xcoder_train.config import SftSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.stage import RESULT_FILE
from xcoder_train.launch import launch_settings, shown_command, stage_command
from xcoder_train.recipe import Recipe, StageName, load_recipe
from xcoder_train.results import stage_folder, stage_key
from xcoder_train.run import run_recipe, stage_stands

POOL = "pool"
Form = Literal["xcoder", "accelerate", "slurm"]


@dataclass(frozen=True)
class Arm:
    """One combination of labels, one of each axis, and the overrides that make it."""

    labels: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """As folders and the paper's figures have it."""
        return arm_name(self.labels)


@dataclass(frozen=True)
class Run:
    """One run: the ablation's recipe under these overrides. `like` is that recipe before its inputs are there."""

    overrides: tuple[str, ...]
    stages: tuple[StageName, ...]
    like: Recipe

    def command(self, recipe: Path, form: Form = "xcoder") -> str:
        """As one could type it; in the form `accelerate`, one line for each stage."""
        given = [str(recipe), *self.overrides]
        if form == "slurm":
            return shlex.join(["xcoder", "slurm", *given]) + " | bash"
        if form == "xcoder":
            return shlex.join(["xcoder", "run", *given])
        lines = []
        for stage in self.stages:
            launch = launch_settings(self.like, stage)
            command = stage_command(launch, stage, given, has_gpu=True)
            lines.append(shown_command(["python", *command[1:]]))
        return "\n".join(lines)


class Ablation:
    """A recipe with an `ablation:` section, checked: its arms are sound and hold equal what they say."""

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Raises InputError for whatever could make the comparison void."""
        self.path, self.given = path, tuple(overrides)
        self.recipe = load_recipe(path, overrides)
        if self.recipe.ablation is None:
            raise InputError(f"{path} has no `ablation:` section; run it with: xcoder run {path}")
        self.settings: AblationSettings = self.recipe.ablation
        self.folder = self.recipe.run_folder
        self.arms = [self._arm(labels) for labels in product(*self.settings.axes.values())]
        self.recipes = {arm: load_recipe(path, self._laid(arm.overrides)) for arm in self.arms}
        self._check_metric()
        self._check_totals()
        for second in dict.fromkeys(arm.labels[1:] for arm in self.arms):
            self._check_equal([arm for arm in self.arms if arm.labels[1:] == second])

    @cached_property
    def most_solutions(self) -> int | None:
        """The most solutions per task that an arm takes; every arm draws from the tasks that have as many."""
        sections = [recipe.sft for recipe in self.recipes.values() if recipe.sft is not None]
        views = [section.data for section in sections]
        return max((max(view.solutions_per_task or 1, view.minimum_solutions or 1) for view in views), default=None)

    @property
    def has_several_pools(self) -> bool:
        """True where arms differ in the tasks that they draw from, because an axis is about those."""
        return self.recipe.synth is not None and len(self._pools) > 1

    def preparations(self) -> Iterator[Run]:
        """What arms share: the pool of tasks and, where no arm changes it, each seed's SFT."""
        if self.recipe.synth is not None:
            for arm, name in self._pools.items():
                laid = (*self._own(arm), f"name={name}", self._place, "sft=null", "grpo=null", "evaluation=null")
                yield Run(self._laid(laid), ("synth",), self.recipes[arm])
        if self._sft_is_shared:
            for seed in self.settings.seeds:
                yield Run(self._start_overrides(seed), ("sft",), self.recipes[self.arms[0]])

    def run_of(self, arm: Arm, seed: int) -> Run:
        """The run of one arm with one seed."""
        name = f"{arm.name}-seed{seed}"
        laid = [*arm.overrides, f"name={name}", self._place, f"seed={seed}", *self._synth_input(arm)]
        laid += ["sft=null", f"inputs.sft={self._start_folder(seed)}"] if self._sft_is_shared else self._rule
        made_before: set[StageName] = {"synth", "sft"} if self._sft_is_shared else {"synth"}
        stages = tuple(stage for stage in self.recipes[arm].stages if stage not in made_before)
        return Run(self._laid(laid), stages, self.recipes[arm])

    def runs(self) -> Iterator[Run]:
        """Every arm with every seed, one seed after the other: what is there early compares all arms."""
        for seed in self.settings.seeds:
            for arm in self.arms:
                yield self.run_of(arm, seed)

    def check_pool(self) -> None:
        """Raise InputError where the pool is too small for an arm, before any arm has cost anything."""
        from xcoder_train.sft_data import count_pool

        for arm, recipe in self.recipes.items():
            if recipe.sft is None or recipe.sft.data.tasks is None:
                continue
            view = recipe.sft.data.model_copy(update={"minimum_solutions": self.most_solutions})
            there = count_pool(SynthLayout(self._pool_folder(arm)), view)
            if there < recipe.sft.data.tasks:
                raise InputError(
                    f"arm {arm.name} needs {recipe.sft.data.tasks:,} tasks with at least {self.most_solutions} "
                    f"accepted solutions, and its pool has {there:,}. Lower all arms alike, or give a larger synthesis."
                )

    def _arm(self, labels: tuple[str, ...]) -> Arm:
        settings: dict[str, Any] = {}
        for arms, label in zip(self.settings.axes.values(), labels, strict=True):
            settings |= arms[label]
        return Arm(labels, tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))

    def _laid(self, overrides: Sequence[str]) -> tuple[str, ...]:
        return (*self.given, "ablation=null", *overrides)

    @property
    def _place(self) -> str:
        return f"runs_dir={self.folder}"

    @property
    def _rule(self) -> tuple[str, ...]:
        """The one pool, as an override of every run that trains."""
        return () if self.most_solutions is None else (f"sft.data.minimum_solutions={self.most_solutions}",)

    @cached_property
    def _pools(self) -> dict[Arm, str]:
        """One arm for each synthesis that differs, with the name of its run."""
        first: dict[str, Arm] = {}
        for arm, recipe in self.recipes.items():
            first.setdefault(stage_key(recipe, "synth"), arm)
        return {arm: POOL if len(first) == 1 else f"{POOL}-{arm.name}" for arm in first.values()}

    def _own(self, arm: Arm) -> tuple[str, ...]:
        """The overrides that make an arm's synthesis; those of a common one belong to no arm."""
        return () if len(self._pools) == 1 else arm.overrides

    def _pool_folder(self, arm: Arm) -> Path:
        if self.recipe.synth is None:
            return stage_folder(self.recipes[arm], "synth")
        key = stage_key(self.recipes[arm], "synth")
        name = next(name for other, name in self._pools.items() if stage_key(self.recipes[other], "synth") == key)
        return self.folder / name / "synth" / key

    def _synth_input(self, arm: Arm) -> tuple[str, ...]:
        return () if self.recipe.synth is None else ("synth=null", f"inputs.synth={self._pool_folder(arm)}")

    @cached_property
    def _sft_is_shared(self) -> bool:
        """True where arms differ only in what follows SFT, which then is done once for each seed."""
        if any(recipe.sft is None or recipe.grpo is None for recipe in self.recipes.values()):
            return False
        return len({stage_key(recipe, "sft") for recipe in self.recipes.values()}) == 1

    def _start_overrides(self, seed: int) -> tuple[str, ...]:
        own = [f"name={_start(seed)}", self._place, f"seed={seed}", *self._synth_input(self.arms[0]), *self._rule]
        return self._laid([*own, "grpo=null", "evaluation=null"])

    def _start_folder(self, seed: int) -> Path:
        """The very result of this recipe's SFT; before its pool stands, the run that will hold it."""
        if not (self._pool_folder(self.arms[0]) / RESULT_FILE).is_file():
            return self.folder / _start(seed)
        return stage_folder(load_recipe(self.path, self._start_overrides(seed)), "sft")

    def _check_metric(self) -> None:
        metric = self.settings.metric
        for arm, recipe in self.recipes.items():
            evaluation = recipe.evaluation
            if evaluation is None or metric.model not in evaluation.models or metric.k not in evaluation.k:
                raise InputError(
                    f"{self.path}: ablation.metric asks for pass@{metric.k} of the model `{metric.model}`, which "
                    f"`evaluation:` of arm {arm.name} does not measure"
                )
        names = self.recipe.evaluation.benchmarks if self.recipe.evaluation is not None else ()
        if metric.benchmark not in names and not any(name.startswith(("file:", "evalplus:")) for name in names):
            raise InputError(
                f"{self.path}: ablation.metric.benchmark is {metric.benchmark!r}, and evaluation.benchmarks measures "
                f"{', '.join(names)}"
            )
        if metric.benchmark == "heldout" and self.has_several_pools:
            raise InputError(
                f"{self.path}: the arms differ in their synthesis, so each would be measured on held-out tasks of its "
                "own; name one benchmark for all of them in evaluation.benchmarks and ablation.metric.benchmark"
            )

    def _check_totals(self) -> None:
        """Tasks against solutions is a comparison at an equal number of examples."""
        for arms in self.settings.axes.values():
            sizes = {
                label: settings["sft.data.tasks"] * settings["sft.data.solutions_per_task"]
                for label, settings in arms.items()
                if {"sft.data.tasks", "sft.data.solutions_per_task"} <= settings.keys()
            }
            if len(sizes) > 1 and len(set(sizes.values())) > 1:
                told = ", ".join(f"{label} = {size:,}" for label, size in sizes.items())
                raise InputError(
                    f"{self.path}: tasks are weighed against solutions at an equal number of examples, found {told}"
                )

    def _check_equal(self, arms: Sequence[Arm]) -> None:
        """The arms of the first axis train equally long, by the measure that the ablation states."""
        lengths = {arm.name: self._length(arm, self.recipes[arm]) for arm in arms}
        if len(set(lengths.values())) > 1:
            told = "\n".join(f"  {name}: {length}" for name, length in lengths.items())
            raise InputError(f"{self.path}: ablation.equal is {self.settings.equal}, and the arms' differ:\n{told}")

    def _length(self, arm: Arm, recipe: Recipe) -> str:
        lengths = []
        for name, section in (("sft", recipe.sft), ("grpo", recipe.grpo)):
            if section is None or (name == "sft" and self._sft_is_shared):
                continue
            tokens = section.tokens if isinstance(section, SftSettings) else None
            steps, epochs = section.training.max_steps, section.training.num_train_epochs
            batch = section.batch if isinstance(section, SftSettings) else section.prompts_per_step
            found = {
                "tokens": None if tokens is None else f"{tokens:,} tokens",
                "steps": f"{steps} steps of {batch}" if steps > 0 and tokens is None else None,
                "epochs": f"{epochs:g} epochs" if epochs is not None and steps <= 0 and tokens is None else None,
            }[self.settings.equal]
            if found is None:
                where = {
                    "tokens": f"{name}.tokens",
                    "steps": f"{name}.training.max_steps",
                    "epochs": f"{name}.training.num_train_epochs and no other length",
                }[self.settings.equal]
                raise InputError(f"{self.path}: ablation.equal is {self.settings.equal}; arm {arm.name} needs {where}")
            lengths.append(f"{name} {found}")
        return ", ".join(lengths)


def run_ablation(ablation: Ablation, break_lock: bool) -> int:
    """Run what is missing and write the tables after every arm. Returns the exit code of the command."""
    from xcoder_train.ablation_results import write_results

    for run in ablation.preparations():
        status = _start_run(ablation, run, break_lock)
        if status != 0:
            return status
    ablation.check_pool()
    for run in ablation.runs():
        status = _start_run(ablation, run, break_lock)
        if status != 0:
            return status
        write_results(ablation)
    return 0


def missing_commands(ablation: Ablation, form: Form) -> Iterator[str]:
    """The commands of the runs that are missing. Arms wait for the preparations, and not for each other."""
    first = [run for run in ablation.preparations() if not _stands(ablation, run)]
    for run in first:
        yield run.command(ablation.path, form)
    if first:
        yield "# The following need the results of those above."
    for run in ablation.runs():
        if not _stands(ablation, run):
            yield run.command(ablation.path, form)


def _stands(ablation: Ablation, run: Run) -> bool:
    try:
        recipe = load_recipe(ablation.path, run.overrides)
        return all(stage_stands(recipe, stage) for stage in run.stages)
    except InputError:  # what it starts from is not there yet
        return False


def _start_run(ablation: Ablation, run: Run, break_lock: bool) -> int:
    if _stands(ablation, run):
        return 0
    print(f"{ablation.recipe.name}: {run.command(ablation.path)}", file=sys.stderr, flush=True)
    return run_recipe(ablation.path, run.overrides, None, break_lock)


def _start(seed: int) -> str:
    return f"start-seed{seed}"
