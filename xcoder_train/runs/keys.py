"""Where each stage's result lies, and the key that says what it was made from.

A key is 12 hex digits over the settings that affect the result, where they differ from their defaults, and the keys of
the inputs. So a setting that a later version adds moves no key while it is at its default. Executors, workers, launch,
tracking and report settings do not affect a result, so changing them makes nothing again.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path

from evaluation.benchmarks import benchmark_files, benchmark_identity
from evaluation.prompting import examples_identity
from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.features.config import feature_file
from synth.published.files import local_files
from xcoder_core.errors import InputError
from xcoder_core.files import JsonObject, read_object
from xcoder_core.models.folder import looks_local
from xcoder_core.settings import at_default, differences_from_defaults, require
from xcoder_core.stage import RESULT_FILE, key_of_result, read_result
from xcoder_train.recipe.schema import Recipe, stored_recipe
from xcoder_train.stages import KEYED, STAGES, TRAINING, StageName

REPORT_FILE = "report.html"
RESOLVED_RECIPE = "recipe.resolved.json"
MANIFEST = "manifest.json"

IMPORT_VERSION = 2
"""The same for imports, so that no synthesis by a teacher is made again where published sets are read otherwise."""


# Of GRPO's section, what the pass rates before it depend on.
_DECIDES_RATES: JsonObject = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "max_prompt_length", "max_completion_length"), True),
    "training": {"repetition_penalty"},
    "reward": {"tests"},
    "curriculum": {"samples", "generation"},
}


@dataclass(frozen=True)
class EvaluationTarget:
    """One model to measure. `folder` belongs to it alone and is whole once it holds `stage.json`."""

    label: str
    model_path: Path | str
    folder: Path
    key: str

    @property
    def is_whole(self) -> bool:
        """True when this model's result stands already."""
        return (self.folder / RESULT_FILE).is_file()


def needed_stages(recipe: Recipe, stage: StageName) -> tuple[StageName, ...]:
    """The earlier stages whose results a stage reads."""
    if STAGES[stage].trains is not None or stage == "rates":
        start, rates = recipe.start_of(stage), stage == "grpo" and recipe.has("rates")
        return ("synth", *(() if start is None else (start,)), *(("rates",) if rates else ()))
    if stage == "evaluation":
        settings = require(recipe.evaluation)
        wanted = {TRAINING[label].name for label in settings.models if label != "base"}
        wanted |= {"synth"} if "heldout" in settings.benchmarks else set()
        if "base" in settings.models and recipe.model.init is not None:
            wanted.add("sft")  # which makes it
        return tuple(name for name in KEYED if name in wanted)
    if stage == "report":
        return tuple(name for name in STAGES if name not in ("rates", "report") and recipe.has_result(name))
    return ()


def stage_key(recipe: Recipe, stage: StageName) -> str:
    """The key of a stage of this recipe, or of the finished result that `inputs` names."""
    return _Keys(recipe, carried_over(recipe.run_folder)).stage(stage)


def stage_folder(recipe: Recipe, stage: StageName) -> Path:
    """Where the stage's result lies or will lie."""
    if stage in (*KEYED, "rates"):
        return _Keys(recipe, carried_over(recipe.run_folder)).folder(stage)
    return recipe.run_folder / "evaluation" if stage == "evaluation" else recipe.run_folder


def is_whole(recipe: Recipe, stage: StageName) -> bool:
    """True when the stage's result stands already. The report's own mark is kept in the manifest."""
    result = stage_folder(recipe, stage) / RESULT_FILE
    return result.is_file() and read_result(result.parent).get("key") == stage_key(recipe, stage)


def stage_inputs(recipe: Recipe, stage: StageName) -> dict[str, Path]:
    """The folders of the finished results that a stage reads. Raises InputError for one that is not there yet."""
    folders: dict[str, Path] = {}
    for name in needed_stages(recipe, stage):
        if not is_whole(recipe, name) and getattr(recipe.inputs, name, None) is None:
            raise InputError(
                f"{stage} needs the result of {name}, and {stage_folder(recipe, name)} holds no finished one. "
                f"Run the stages before it first: xcoder run RECIPE, or xcoder {name} RECIPE"
            )
        folders[name] = stage_folder(recipe, name)
    return folders


def evaluation_targets(recipe: Recipe, run_folder: Path) -> list[EvaluationTarget]:
    """The models to measure, in the recipe's order, each with a key of its own.

    A changed GRPO gives the `rl` model another key and folder, and leaves those of `base` and `sft` as they are.
    """
    return _Keys(recipe, carried_over(run_folder)).targets(run_folder)


def training_data(recipe: Recipe, label: str) -> Path | None:
    """The synthesis that all training of a measured model was on; None where some of its data came from elsewhere."""
    if not recipe.has_result("synth") or (label == "base" and recipe.model.init is None):
        return None
    folder = stage_folder(recipe, "synth")
    trained_on = set()
    stage = TRAINING[label].name if label in TRAINING else None
    while stage is not None:
        trained_on.add(read_result(stage_folder(recipe, stage)).get("data"))
        stage = recipe.start_of(stage)
    return folder if trained_on <= {folder.name} else None


def carried_over(run_folder: Path) -> Mapping[str, str]:
    """The keys of results in a run that were made when keys were hashes of complete sections, by today's keys.

    A key is in it only where a folder of the earlier name lies in the run. The manifest keeps what was found.
    """
    manifest = run_folder / MANIFEST
    if not manifest.is_file():
        return {}
    return _carried_over(run_folder, manifest.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _carried_over(run_folder: Path, _changed: int) -> Mapping[str, str]:
    kept = read_object(run_folder / MANIFEST).get("carried_over")
    stored = read_object(run_folder / RESOLVED_RECIPE)
    names: dict[str, str] = kept or {}
    if kept is not None or not stored:
        return names
    with suppress(InputError):  # of a file that is gone since, or a setting that is: their results are made anew
        recipe = stored_recipe(stored, run_folder / RESOLVED_RECIPE)
        today, earlier = _Keys(recipe, names), _Keys(recipe, names, stored)
        for stage in (stage for stage in KEYED if recipe.has(stage)):
            if getattr(recipe.inputs, stage) is None and (run_folder / stage / earlier.stage(stage)).is_dir():
                names[today.stage(stage)] = earlier.stage(stage)
        if recipe.evaluation is not None:
            both = list(zip(today.targets(run_folder), earlier.targets(run_folder), strict=True))
            names |= {new.key: old.key for new, old in both if old.folder.is_dir()}
    return names


@dataclass(frozen=True)
class _Keys:
    """The keys of one recipe. `names` are those that results of an earlier version keep, by the key of today.

    `complete` are the sections as that version hashed them, with every default; to find what it called its results.
    """

    recipe: Recipe
    names: Mapping[str, str]
    complete: JsonObject | None = None

    def stage(self, stage: StageName) -> str:
        if stage in KEYED and getattr(self.recipe.inputs, stage) is not None:
            return key_of_result(self.recipe.input_folder(stage))
        if stage == "evaluation":
            targets = self.targets(self.recipe.run_folder)
            return self._hash({"stage": stage, "targets": [[target.label, target.key] for target in targets]})
        is_import = stage == "synth" and bool(require(self.recipe.synth).imports)
        return self._hash(
            {
                "stage": stage,
                "version": [STAGES[stage].version, IMPORT_VERSION] if is_import else STAGES[stage].version,
                "settings": self._settings(stage),
                # All that pass rates depend on is among GRPO's own settings and inputs.
                "inputs": {name: self.stage(name) for name in needed_stages(self.recipe, stage) if name != "rates"},
            }
        )

    def targets(self, run_folder: Path) -> list[EvaluationTarget]:
        recipe, settings = self.recipe, require(self.recipe.evaluation)
        common = {
            "version": STAGES["evaluation"].version,
            "settings": self._section("evaluation"),
            "benchmarks": [self._benchmark_identity(name) for name in settings.benchmarks],
            **self._judge(),
            **self._chat_template(),
            "prompt": settings.prompt or recipe.model.prompt,
            "seed": recipe.seed,
        }
        if settings.few_shot_folder is not None:
            common["examples"] = examples_identity(settings.few_shot_folder)
        targets = []
        for label in settings.models:
            path, identity = self._model_to_measure(label)
            key = self._hash({**common, "model": identity})
            targets.append(EvaluationTarget(label, path, run_folder / "evaluation" / f"{label}-{key}", key))
        return targets

    def _hash(self, value: Mapping[str, object]) -> str:
        key = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
        return self.names.get(key, key)

    def _settings(self, stage: StageName) -> dict[str, object]:
        """What a stage's result depends on, besides its inputs."""
        recipe = self.recipe
        identity: dict[str, object] = {"seed": recipe.seed}
        if stage == "report":
            return identity | {"report": self._section(stage)}
        identity |= {"section": self._section(stage), "prompt": recipe.model.prompt}
        identity |= self._chat_template() if stage != "synth" else {}
        if stage == "synth":
            return identity | self._judge() | _files_of_synthesis(require(recipe.synth))
        if recipe.start_of(stage) is None:
            identity["model"] = self._model_identity()
        if "judge" in STAGES[stage].sections:
            identity |= self._judge()
        if stage == "rates":
            return identity
        if recipe.model.save_dtype is not None or require(getattr(recipe, stage)).lora is not None:
            # Of adapters always: they were once merged in what was stored.
            identity["save_dtype"] = recipe.model.save_dtype
        return identity

    def _section(self, stage: StageName) -> JsonObject:
        """Where a stage's section differs from its defaults, without what does not affect its result."""
        if stage == "rates":
            grpo = require(self.recipe.grpo)
            measured = grpo.model_copy(update={"curriculum": grpo.measuring})
            section = reduce(at_default, STAGES["grpo"].does_not_affect_result, measured)
            return section.model_dump(mode="json", exclude_defaults=True, include=_DECIDES_RATES)
        excluded: JsonObject = {}
        for path in STAGES[stage].does_not_affect_result:
            *above, last = path.split(".")
            inner = excluded
            for part in above:
                inner = inner.setdefault(part, {})
            inner[last] = True
        if self.complete is not None:
            return _without(self.complete[stage], excluded)
        # Put at its default and not only left out, or a section in which nothing else is set would differ from none.
        section = reduce(at_default, STAGES[stage].does_not_affect_result, require(getattr(self.recipe, stage)))
        return differences_from_defaults(section, exclude=excluded)

    def _judge(self) -> dict[str, object]:
        """The settings of the judge that affect verdicts: the policy, and a limit of output other than the default.

        The wall-clock cap is a backstop beyond the limit of CPU time, which belongs to the problem.
        """
        judge = self.recipe.judge
        limit = {} if judge.output_mib == JudgeSettings().output_mib else {"output_mib": judge.output_mib}
        return {"policy": judge.policy, **limit}

    def _chat_template(self) -> dict[str, object]:
        """The template that takes the place of the tokenizer's own; nothing for a recipe that names none."""
        template = self.recipe.model.chat_template
        return {} if template is None else {"chat_template": _file_identity(template)}

    def _model_to_measure(self, label: str) -> tuple[Path | str, object]:
        recipe = self.recipe
        if label in TRAINING:
            stage = TRAINING[label].name
            return self.folder(stage) / "model", self.stage(stage)
        if recipe.model.init is None:
            return require(recipe.model.path), self._model_identity()
        if recipe.inputs.sft is not None:
            return self.folder("sft") / "base", ["base of", self.stage("sft")]
        # The initial model's tokenizer is trained on the synthesis, which therefore belongs to its identity.
        return self.folder("sft") / "base", [self._model_identity(), recipe.seed, self.stage("synth")]

    def folder(self, stage: StageName) -> Path:
        given = getattr(self.recipe.inputs, stage, None) is not None
        return self.recipe.input_folder(stage) if given else self.recipe.run_folder / stage / self.stage(stage)

    def _model_identity(self) -> object:
        """The initial model's settings, or the path with, for a folder, what lies in it."""
        model = self.recipe.model
        if model.init is not None:
            return differences_from_defaults(model.init) if self.complete is None else self.complete["model"]["init"]
        path = require(model.path)
        if not looks_local(path):
            return path
        return [path, [[file.name, file.stat().st_size] for file in sorted(Path(path).glob("*")) if file.is_file()]]

    def _benchmark_identity(self, benchmark: str) -> list[object]:
        """`heldout` is its synthesis, any other benchmark its files and how they are read."""
        if benchmark == "heldout":
            return [benchmark, self.stage("synth")]
        files = benchmark_files(benchmark, require(self.recipe.evaluation).livecodebench_folder)
        return benchmark_identity(benchmark, [_file_identity(file) for file in files])


def _without(section: JsonObject, excluded: JsonObject) -> dict[str, object]:
    return {
        name: _without(value, excluded[name]) if name in excluded and value is not None else value
        for name, value in section.items()
        if excluded.get(name) is not True
    }


def _files_of_synthesis(settings: SynthSettings) -> dict[str, object]:
    """The files that synthesis reads affect its result too. A set on the hub is its id and revision."""
    source = feature_file(settings.features)
    read: dict[str, object] = {"features": None if source is None else _file_identity(source)}
    if settings.cleaning.decontaminate:
        read["evaluation_sets"] = [_file_identity(path) for path in settings.cleaning.decontaminate]
    if settings.imports:
        found = [local_files(item) for item in settings.imports]
        read["imports"] = [None if files is None else list(map(_file_identity, files)) for files in found]
    return read


def _file_identity(path: Path) -> list[object]:
    """A file is its size with the hash of its first and last MiB, as files reach GBs."""
    if not path.is_file():
        raise InputError(f"{path} does not exist, and the recipe reads it")
    mebibyte = 1 << 20
    with open(path, "rb") as stream:
        digest = hashlib.sha256(stream.read(mebibyte))
        size = stream.seek(0, 2)
        stream.seek(max(0, size - mebibyte))
        digest.update(stream.read())
    return ["file", str(size), digest.hexdigest()]
