"""An ablation: the runs that it consists of, what is held equal among them, and running those that are missing.

Every run is an ordinary `xcoder run` of the ablation's recipe with overrides, so whatever a run keeps, resumes and
refuses holds here too, and any of them can be started by hand from the printed command.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from evaluation.benchmarks import benchmark_name
from xcoder_core.errors import InputError
from xcoder_core.stage import SynthLayout
from xcoder_train.ablation.results import AblationResults, gather
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import arm_name
from xcoder_train.runs.folder import stage_stands
from xcoder_train.runs.keys import stage_folder, stage_key
from xcoder_train.runs.launch import launch_settings, stage_command
from xcoder_train.sft.data import count_pool
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import StageName

FORMS = ("xcoder", "accelerate", "slurm")
TASKS, SOLUTIONS = "sft.data.tasks", "sft.data.solutions_per_task"
LENGTHS = {"tokens": "tokens", "steps": "training.max_steps", "epochs": "training.num_train_epochs and no other length"}


@dataclass(frozen=True)
class Arm:
    """One combination of labels, one of each axis; the overrides that make it, and the recipe that they make."""

    name: str
    labels: tuple[str, ...]
    overrides: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Run:
    """One run of an arm, or of what arms share: the recipe at `path` under these overrides."""

    name: str
    arm: Arm
    path: Path
    overrides: tuple[str, ...]
    stages: tuple[StageName, ...]

    def recipe_after(self, *stages: StageName) -> Recipe | None:
        """Its recipe where its inputs and these of its stages are finished for exactly its settings, else None."""
        try:
            recipe = load_recipe(self.path, self.overrides)
            return recipe if all(stage_stands(recipe, stage) for stage in stages) else None
        except InputError:  # what it starts from is not there yet
            return None

    def command(self, form: str) -> str:
        """As one could type it, for `xcoder` or `slurm`; for `accelerate`, one line for each stage."""
        words = [str(self.path), *self.overrides]
        if form == "slurm":
            return shlex.join(["xcoder", "slurm", *words]) + " | bash"
        if form == "xcoder":
            return shlex.join(["xcoder", "run", *words])
        launches = {stage: launch_settings(self.arm.recipe, stage) for stage in self.stages}
        commands = [stage_command(launch, stage, words, has_gpu=True) for stage, launch in launches.items()]
        return "\n".join(shlex.join(["python", *command[1:]]) for command in commands)


class Ablation:
    """A recipe with an `ablation:` section, checked: its arms are sound and hold equal what they say."""

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Raises InputError for whatever could make the comparison void."""
        self.path, self.recipe = path, load_recipe(path, overrides)
        if self.recipe.ablation is None:
            raise InputError(f"{path} has no `ablation:` section; run it with: xcoder run {path}")
        self.settings, self.folder = self.recipe.ablation, self.recipe.run_folder
        self._base = (*overrides, "ablation=null")
        self._common = Arm("", (), (), self.recipe)  # of what belongs to no single arm
        self.arms = [self._arm(labels) for labels in product(*self.settings.axes.values())]
        self._check_metric()
        self._check_totals()
        recipes = [arm.recipe for arm in self.arms]
        views = [recipe.sft.data for recipe in recipes if recipe.sft is not None]
        most = [max(view.solutions_per_task or 1, view.minimum_solutions or 1) for view in views]
        # Every arm draws from the tasks that have as many accepted solutions as any arm takes.
        self.most_solutions = max(most, default=1)
        self._same_tasks = [f"sft.data.minimum_solutions={self.most_solutions}"] if views else []
        # Where arms differ only in what follows SFT, it is done once for each seed.
        has_both = all(recipe.has("sft") and recipe.has("grpo") for recipe in recipes)
        self._sft_is_shared = has_both and len({stage_key(recipe, "sft") for recipe in recipes}) == 1
        self._check_lengths()

    def preparations(self) -> list[Run]:
        """What arms share: the pool of tasks and, where no arm changes it, each seed's SFT."""
        starts = [self._start(seed) for seed in self.settings.seeds] if self._sft_is_shared else []
        return [*self._pools.values(), *starts]

    def runs(self) -> Iterator[Run]:
        """Every arm with every seed, one seed after the other: what is there early compares all arms."""
        return (self.run_of(arm, seed) for seed in self.settings.seeds for arm in self.arms)

    def run_of(self, arm: Arm, seed: int) -> Run:
        """The run of one arm with one seed."""
        made_before, sft = {"synth"}, self._same_tasks
        if self._sft_is_shared:
            start = self._start(seed)
            recipe = start.recipe_after()
            folder = self.folder / start.name if recipe is None else stage_folder(recipe, "sft")
            made_before, sft = {"synth", "sft"}, ["sft=null", f"inputs.sft={folder}"]
        stages = tuple(stage for stage in arm.recipe.stages if stage not in made_before)
        return self._run(f"{arm.name}-seed{seed}", arm, stages, f"seed={seed}", *self._pool_input(arm), *sft)

    def check_pool(self) -> None:
        """Raise InputError where the pool is too small for an arm, before any arm has cost anything."""
        for arm in self.arms:
            recipe = load_recipe(self.path, self.run_of(arm, self.settings.seeds[0]).overrides)
            view = None if recipe.sft is None else recipe.sft.data
            if view is None or view.tasks is None:
                continue
            tasks = count_pool(SynthLayout(stage_folder(recipe, "synth")), view)
            if tasks < view.tasks:
                raise InputError(
                    f"arm {arm.name} needs {view.tasks:,} tasks with at least {self.most_solutions} accepted "
                    f"solutions, and its pool has {tasks:,}. Lower all arms alike, or give a larger synthesis."
                )

    def results(self) -> AblationResults:
        """What the finished runs gave."""
        pool = f"the tasks with at least {self.most_solutions} accepted solutions"
        if len(self._pools) > 1:
            pool = "a synthesis of its own, so the tasks differ too"
        elif self.most_solutions == 1:
            pool = "the tasks with an accepted solution"
        recipes: dict[tuple[str, ...], dict[int, Recipe | None]] = {}
        for arm in self.arms:
            runs = {seed: self.run_of(arm, seed) for seed in self.settings.seeds}
            recipes[arm.labels] = {seed: run.recipe_after("evaluation") for seed, run in runs.items()}
        return gather(self.recipe.name, self.settings, pool, recipes)

    def _arm(self, labels: tuple[str, ...]) -> Arm:
        changes: dict[str, object] = {}
        for axis, label in zip(self.settings.axes.values(), labels, strict=True):
            changes |= axis[label]
        overrides = tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
        return Arm(arm_name(labels), labels, overrides, load_recipe(self.path, (*self._base, *overrides)))

    def _run(self, name: str, arm: Arm, stages: tuple[StageName, ...], *changes: str) -> Run:
        overrides = (*self._base, *arm.overrides, f"name={name}", f"runs_dir={self.folder}", *changes)
        return Run(name, arm, self.path, overrides, stages)

    @cached_property
    def _pools(self) -> dict[str, Run]:
        """The run of each synthesis that differs, by its key; none where a finished synthesis is given."""
        arms: dict[str, Arm] = {}
        for arm in self.arms if self.recipe.synth is not None else ():
            arms.setdefault(stage_key(arm.recipe, "synth"), arm)
        if len(arms) == 1:
            arms = dict.fromkeys(arms, self._common)
        changes = ("sft=null", "grpo=null", "evaluation=null")
        return {key: self._run("-".join(["pool", *arm.labels]), arm, ("synth",), *changes) for key, arm in arms.items()}

    def _pool_input(self, arm: Arm) -> list[str]:
        if self.recipe.synth is None:
            return []
        key = stage_key(arm.recipe, "synth")
        return ["synth=null", f"inputs.synth={self.folder / self._pools[key].name / 'synth' / key}"]

    def _start(self, seed: int) -> Run:
        """The SFT that all arms of a seed start from."""
        inputs = self._pool_input(self.arms[0])
        changes = (f"seed={seed}", *inputs, *self._same_tasks, "grpo=null", "evaluation=null")
        return self._run(f"start-seed{seed}", self._common, ("sft",), *changes)

    def _check_metric(self) -> None:
        metric = self.settings.metric
        for arm in self.arms:
            evaluation = arm.recipe.evaluation
            if evaluation is None or metric.model not in evaluation.models or metric.k not in evaluation.k:
                raise InputError(
                    f"{self.path}: ablation.metric asks for pass@{metric.k} of the model `{metric.model}`, which "
                    f"`evaluation:` of arm {arm.name} does not measure"
                )
            names = [benchmark_name(name) for name in evaluation.benchmarks]
            if metric.benchmark not in names:
                raise InputError(
                    f"{self.path}: ablation.metric.benchmark is {metric.benchmark!r}, and evaluation.benchmarks "
                    f"measures {', '.join(names)}"
                )
        if metric.benchmark == "heldout" and len(self._pools) > 1:
            raise InputError(
                f"{self.path}: the arms differ in their synthesis, so each would be measured on held-out tasks of its "
                "own; name one benchmark for all of them in evaluation.benchmarks and ablation.metric.benchmark"
            )

    def _check_totals(self) -> None:
        """Tasks against solutions is a comparison at an equal number of examples."""
        for axis in self.settings.axes.values():
            views = {label: (arm.get(TASKS), arm.get(SOLUTIONS)) for label, arm in axis.items()}
            totals = {label: tasks * solutions for label, (tasks, solutions) in views.items() if tasks and solutions}
            if len(set(totals.values())) > 1:
                listed = ", ".join(f"{label} = {total:,}" for label, total in totals.items())
                raise InputError(f"{self.path}: arms of tasks and solutions need equally many examples, found {listed}")

    def _check_lengths(self) -> None:
        """The arms of the first axis train equally long, by the measure that the ablation states."""
        for others in dict.fromkeys(arm.labels[1:] for arm in self.arms):
            lengths = {arm.name: self._length(arm) for arm in self.arms if arm.labels[1:] == others}
            if len(set(lengths.values())) > 1:
                listed = "\n".join(f"  {name}: {length}" for name, length in lengths.items())
                raise InputError(
                    f"{self.path}: ablation.equal is {self.settings.equal}, but the arms differ:\n{listed}"
                )

    def _length(self, arm: Arm) -> str:
        equal, lengths = self.settings.equal, []
        for stage, section in (("sft", None if self._sft_is_shared else arm.recipe.sft), ("grpo", arm.recipe.grpo)):
            if section is not None:
                measure, length = _training_length(section)
                if measure != equal:
                    setting = f"{stage}.{LENGTHS[equal]}"
                    raise InputError(f"{self.path}: ablation.equal is {equal}; arm {arm.name} needs {setting}")
                lengths.append(f"{stage} {length}")
        return ", ".join(lengths)


def _training_length(section: SftSettings | GrpoSettings) -> tuple[str, str]:
    """The measure in which a section says how long it trains, and the length; empty where it says nothing."""
    steps, epochs = section.training.max_steps, section.training.num_train_epochs
    tokens = section.tokens if isinstance(section, SftSettings) else None
    batch = section.batch if isinstance(section, SftSettings) else section.prompts_per_step
    if tokens is not None:
        return "tokens", f"{tokens:,} tokens"
    if steps > 0:
        return "steps", f"{steps} steps of {batch}"
    return ("", "") if epochs is None else ("epochs", f"{epochs:g} epochs")
