"""The folder of one run: the recipe it was started with, its manifest, its summary."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from xcoder_core.errors import InputError, installed_version
from xcoder_core.files import JsonObject, atomic_path, fingerprint, read_object, write_json
from xcoder_core.settings import differences_from_defaults
from xcoder_core.stage import RESULT_FILE, read_result
from xcoder_core.yaml_source import Place, located
from xcoder_train.recipe.reading import Source
from xcoder_train.recipe.schema import Recipe, stored_recipe
from xcoder_train.runs.keys import MANIFEST, REPORT_FILE, RESOLVED_RECIPE, carried_over, is_whole, stage_key
from xcoder_train.stages import STAGES, StageName

GIVEN_RECIPE = "recipe.yaml"
SUMMARY = "summary.json"

# A run is one starting point. What comes after it may change: each result has a folder named after its own key.
_STARTING_POINT = ("seed", "inputs", "model", "synth")
_STAYS_THE_SAME_START = ("model.save_dtype", *(f"synth.{path}" for path in STAGES["synth"].does_not_affect_result))
_PACKAGES = "torch transformers trl accelerate peft datasets pyarrow numpy vllm ray wandb".split()


class RunFolder:
    """Reads and writes the run's own files. Only the holder of the run's lock may write."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.path = recipe.run_folder

    def settings_that_changed(self) -> list[str]:
        """Settings in which this recipe differs from the run's stored one, as `path: old -> new`.

        Raises InputError when a stage has begun from another starting point.
        """
        resolved = self.path / RESOLVED_RECIPE
        stored = self.manifest().get("settings") or read_object(resolved)
        if not stored:
            self._refuse_foreign_folder()
            return []
        # Both are read by this version, so that a setting which is new in it is at its default in both.
        before, current = (read.model_dump(mode="json") for read in (stored_recipe(stored, resolved), self.recipe))
        skipped = {"name", "runs_dir", "slurm"}
        changes = {
            path: f"{path}: {_shown(old)} -> {_shown(new)}"
            for path, old, new in _differences(before, current, ())
            if path.split(".")[0] not in skipped
        }
        elsewhere = [
            change
            for path, change in changes.items()
            if path.split(".")[0] in _STARTING_POINT and not _is_below(path, _STAYS_THE_SAME_START)
        ]
        if elsewhere and self.manifest().get("stages"):  # before that, there is nothing that a change could spoil
            raise InputError(
                f"{self.path} holds a run with another starting point:\n"
                + "".join(f"  {line}\n" for line in elsewhere)
                + "Nothing was changed. Either give this run a folder of its own (name=…), or restore the values on "
                f"the left, or move {self.path} away."
            )
        return list(changes.values())

    def write_recipe(self, given: Source, command: Sequence[str]) -> None:
        """Keep the recipe as given and as resolved, and begin the manifest."""
        with atomic_path(self.path / GIVEN_RECIPE) as temporary:
            if isinstance(given, Mapping):  # as JSON, which is YAML
                temporary.write_text(json.dumps(located(given, Place("")).plain(), indent=2) + "\n", encoding="utf-8")
            else:
                temporary.write_bytes(Path(given).read_bytes())
        manifest, earlier_names = self.manifest(), carried_over(self.path)
        write_json(self.path / RESOLVED_RECIPE, self.recipe.model_dump(mode="json"))
        write_json(
            self.path / MANIFEST,
            {
                "run": self.recipe.name,
                "created": manifest.get("created", _now()),
                "seed": self.recipe.seed,
                "settings": differences_from_defaults(self.recipe),
                "carried_over": earlier_names,
                "git_commit": _git_commit(),
                "versions": _versions(),
                "command": list(command),
                "stages": manifest.get("stages", {}),
                "earlier": manifest.get("earlier", []),
            },
        )

    def manifest(self) -> JsonObject:
        """The manifest; empty before the run has begun."""
        return read_object(self.path / MANIFEST)

    def begin_stage(self, stage: str, key: str, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Note that a stage starts. An entry for another key moves to `earlier`."""
        manifest = self.manifest()
        stages = manifest.setdefault("stages", {})
        before = stages.get(stage)
        if before is not None and before["key"] != key:
            manifest.setdefault("earlier", []).append(before)
            before = None
        stages[stage] = {
            "stage": stage,
            "key": key,
            "folder": str(folder),
            "inputs": {
                name: {
                    "folder": str(path),
                    "key": read_result(path).get("key"),
                    "content": fingerprint(path / RESULT_FILE),
                }
                for name, path in inputs.items()
            },
            "started": before["started"] if before else _now(),
            "ended": None,
            "seconds": before["seconds"] if before else 0.0,
            "exit_status": None,
            "figures": {},
        }
        write_json(self.path / MANIFEST, manifest)

    def keep_stage(self, stage: str, key: str) -> None:
        """Note that a whole result is used again: where another key came in between, its old entry comes back."""
        manifest = self.manifest()
        current = manifest.get("stages", {}).get(stage)
        earlier = manifest.get("earlier", [])
        whole = [entry for entry in earlier if (entry["stage"], entry["key"], entry["exit_status"]) == (stage, key, 0)]
        if current is None or current["key"] == key or not whole:
            return
        earlier.remove(whole[-1])
        earlier.append(current)
        manifest["stages"][stage] = whole[-1]
        write_json(self.path / MANIFEST, manifest)
        self._summarise(manifest, stage)

    def end_stage(self, stage: str, seconds: float, exit_status: int, result: Path | None) -> None:
        """Note how a stage ended, and carry its time and, for synthesis, its funnel into the summary."""
        manifest = self.manifest()
        entry = manifest["stages"][stage]
        entry["ended"], entry["exit_status"] = _now(), exit_status
        entry["seconds"] = round(entry["seconds"] + seconds, 1)
        if result is not None:
            left = {name: value for name, value in read_result(result).items() if name not in ("stage", "key")}
            entry["figures"] = left
            entry["content"] = fingerprint(result / RESULT_FILE)
        write_json(self.path / MANIFEST, manifest)
        if exit_status == 0:
            self._summarise(manifest, stage)

    def _summarise(self, manifest: JsonObject, stage: str) -> None:
        """Carry the stages' seconds and, of synthesis, the funnel into the summary."""
        parts: dict[str, object] = {"seconds": {name: made["seconds"] for name, made in manifest["stages"].items()}}
        figures = manifest["stages"][stage]["figures"]
        if "funnel" in figures:
            parts["funnel"] = figures["funnel"]
        update_summary(self.path, **parts)

    def _refuse_foreign_folder(self) -> None:
        found = sorted(path.name for path in self.path.glob("[!.]*")) if self.path.is_dir() else []
        if found not in ([], [GIVEN_RECIPE]):
            raise InputError(
                f"{self.path} is not a run: it holds {', '.join(found[:5])} and no {RESOLVED_RECIPE}. Give this run a "
                "folder of its own (name=… or runs_dir=…)."
            )


def update_summary(run_folder: Path, **parts: object) -> None:
    """Lay `parts` over the run's summary.json in one step; mappings merge one level deep."""
    summary = read_summary(run_folder)
    for name, value in parts.items():
        before = summary.get(name)
        summary[name] = before | value if isinstance(value, dict) and isinstance(before, dict) else value
    write_json(run_folder / SUMMARY, summary)


def read_summary(run_folder: Path) -> JsonObject:
    """The run's summary.json; {} before there is one."""
    return read_object(run_folder / SUMMARY)


def _differences(old: object, new: object, path: tuple[str, ...]) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield ".".join(path), old, new


def _is_below(path: str, sections: Sequence[str]) -> bool:
    return any(path == section or path.startswith(f"{section}.") for section in sections)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    installed = {package: installed_version(package) for package in _PACKAGES}
    return {"python": sys.version.split()[0]} | {name: version for name, version in installed.items() if version}


def _git_commit() -> str | None:
    """The commit of this code; None where it was installed from a package. `+` marks uncommitted changes."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else commit + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def stage_stands(recipe: Recipe, stage: StageName) -> bool:
    """True when the stage has nothing left to do."""
    if stage != "report":
        return is_whole(recipe, stage) or (stage == "rates" and recipe.has(stage) and is_whole(recipe, "grpo"))
    entry = RunFolder(recipe).manifest().get("stages", {}).get("report", {})
    made = entry.get("key") == stage_key(recipe, "report") and entry.get("exit_status") == 0
    return made and (recipe.run_folder / REPORT_FILE).is_file()
