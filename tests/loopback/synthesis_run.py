"""A small `xcoder synth` against the loopback server: its recipe, its process, and what it left."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from procedural_model import operation_tree

from synth.features.tree import write_tree

PROJECT = Path(__file__).parents[2]

RECIPE = """
name: loopback
runs_dir: {runs}
seed: 5
judge: {{workers: 2}}
synth:
  teacher:
    kind: openai
    server: {{base_url: "{url}", model: model, max_concurrency: 16, prompt_price: 1.0, completion_price: 10.0}}
  features:
    source: {{kind: tree, path: {tree}}}
    shape: {{root: [1, 1], inner: [3, 3], leaves: [2, 2], minimum_leaves: 4}}
  styles: {{codeforces: 0.5, atcoder: 0.2, leetcode: 0.3}}
  splits:
    train: {{use: sft, tasks: 14}}
    explore: {{use: rl, tasks: 4}}
    heldout: {{use: evaluation, tasks: 4}}
  inputs_per_task: 8
  candidates_per_task: 6
  limit_seconds: 1.0
"""


def start(recipe: Path, errors: Any = subprocess.PIPE) -> "subprocess.Popen[str]":
    """`xcoder synth` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xcoder_train.cli", "synth", str(recipe)]
    return subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL, text=True, env=environment)


def write_recipe(folder: Path, url: str) -> Path:
    """A small recipe whose teacher is the server at `url`."""
    tree, recipe = folder / "tree.json", folder / "recipe.yaml"
    write_tree(tree, operation_tree())
    recipe.write_text(RECIPE.format(runs=folder / "runs", url=url, tree=tree))
    return recipe


def result_folder(folder: Path) -> Path:
    """Where its result lies or comes to lie."""
    (result,) = (folder / "runs" / "loopback" / "synth").iterdir()
    return result


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every table but those of measured times."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
        if path.parent.name != "timings"
    }


PRELOADED = [
    "xcoder_train.runs.work",
    "synth.language_model.teacher",
    "xcoder_core.models.openai_backend",
    "pyarrow.parquet",
    "datasketch",
    "jinja2",
    "rich.table",
]
"""What a life imports: done once, so that fifty lives take minutes and not half an hour."""


def live(recipe: str, log: str) -> None:
    """The stage in this process, which was forked for it, until it ends or is killed; what it says goes to `log`."""
    from xcoder_train.runs.stage import main

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.exit(main(["synth", recipe]))
