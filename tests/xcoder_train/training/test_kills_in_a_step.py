"""GRPO that is killed at random instants of its steps: nothing that was judged is made again, and nothing changes."""

import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from xcoder_train.runs.stage import main

Weights = Callable[[Path], dict[str, torch.Tensor]]
Place = tuple[int, int, int]
"""Step, slot and number of a rollout."""
DYNAMIC = {"dynamic_sampling": {"rounds": 3, "oversample": 1.5}}
BOTH = {**DYNAMIC, "online_rates": {}}


def _work(recipe: Path, rank: int, processes: int, port: int) -> None:
    """One process of the stage; every rollout that it is about to judge, after sampling it, is written down."""
    os.setsid()
    if processes > 1:
        world = {"RANK": rank, "WORLD_SIZE": processes, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in world.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (recipe.parent / f"errors-{rank}").open("ab") as errors:
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
    from xcoder_train.grpo.groups import Groups

    judge_and_keep = Groups._judged

    def judged(self: Groups, trainer: Any, problems: dict[int, str], sampled: dict[tuple[int, int], Any]) -> Any:
        with (recipe.parent / f"judged-{rank}").open("a") as log:
            log.writelines(f"{trainer.state.global_step} {slot} {number}\n" for slot, number in sampled)
        return judge_and_keep(self, trainer, problems, sampled)

    Groups._judged = judged  # type: ignore[method-assign]
    sys.exit(main(["grpo", str(recipe)]))


class Run:
    """One recipe, started again and again; its processes are forked from one that has imported what they need."""

    def __init__(self, folder: Path, values: dict[str, Any], processes: int, **inputs: Path) -> None:
        folder.mkdir()
        self.processes, self.recipe = processes, folder / "recipe.yaml"
        own = {"inputs": {name: str(path) for name, path in inputs.items()}, "runs_dir": str(folder / "runs")}
        self.recipe.write_text(yaml.safe_dump({**values, **own, "judge": {"workers": processes}}))
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["xcoder_train.grpo.train", "trl", "peft", "accelerate.state"])

    @property
    def folder(self) -> Path:
        """Of the stage's result."""
        return next((self.recipe.parent / "runs" / "tiny" / "grpo").glob("*"))

    def start(self) -> list[Any]:
        """Its processes, each of which leads a group: they can be killed together with their judges."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = [(self.recipe, rank, self.processes, port) for rank in range(self.processes)]
        started = [self.context.Process(target=_work, args=arguments) for arguments in ranks]
        for process in started:
            process.start()
        for process in started:
            while process.is_alive() and os.getpgid(process.pid) != process.pid:
                time.sleep(0.001)
        return started

    def finish(self) -> None:
        """To the end."""
        for process in (started := self.start()):
            process.join()
        assert not any(process.exitcode for process in started), self._errors()

    def kill(self, rollouts: int, seconds: float) -> bool:
        """Start it and kill it so long after it has judged so many rollouts more. False where it ended before."""
        started, before = self.start(), self.judged().total()
        instant = None if rollouts else time.monotonic() + seconds
        while all(process.is_alive() for process in started) and (instant is None or time.monotonic() < instant):
            if instant is None and self.judged().total() >= before + rollouts:
                instant = time.monotonic() + seconds
            time.sleep(0.005)
        was_running = all(process.is_alive() for process in started)
        for process in started:
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        assert was_running or not any(process.exitcode for process in started), self._errors()
        return was_running

    def judged(self) -> Counter[Place]:
        """How often any start has sampled a rollout and begun to judge it."""
        logs = sorted(self.recipe.parent.glob("judged-*"))
        lines = [line for log in logs for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return Counter(tuple(map(int, line.split())) for line in lines)  # type: ignore[misc]

    def journal(self) -> dict[Place, bytes]:
        """The lines of the journals. A step that the last checkpoint has behind it may have lost its own."""
        files = sorted(self.recipe.parent.glob("runs/tiny/grpo/*/rollouts/*.journal"))
        lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
        rows = [(json.loads(line[9:]), line) for line in lines if line.endswith(b"\n")]
        found = {(row["step"], row["slot"], row["number"]): line for row, line in rows}
        assert len(found) == len(rows)
        return found

    def _errors(self) -> str:
        return "".join(file.read_text()[-3000:] for file in self.recipe.parent.glob("errors-*"))


def _metrics(folder: Path) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "step_time", "judge/seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


@pytest.mark.parametrize(
    ("processes", "groups", "kills"),
    [
        (1, {}, 3),
        pytest.param(1, {}, 50, marks=pytest.mark.slow),
        pytest.param(1, DYNAMIC, 50, marks=pytest.mark.slow),
        pytest.param(1, BOTH, 50, marks=pytest.mark.slow),
        pytest.param(2, {}, 50, marks=pytest.mark.slow),
        pytest.param(2, DYNAMIC, 50, marks=pytest.mark.slow),
        pytest.param(2, BOTH, 50, marks=pytest.mark.slow),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, dict) else str(value),
)
def test_kills_inside_a_step_lose_and_double_no_judged_rollout_and_change_nothing(
    processes: int,
    groups: dict[str, Any],
    kills: int,
    tmp_path: Path,
    synthesis: Path,
    by_heart: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    """Two processes share a group: the rollouts of one may be kept and those of the other not."""
    values = recipe_values(
        "grpo",
        prompts_per_step=3,
        micro_batch=2,
        rollout_batch=2,
        **groups,
        launch={"processes": processes},
        training={"max_steps": 4 + kills, "save_steps": 4},
    )
    whole, killed = (
        Run(tmp_path / name, values, processes, synth=synthesis, sft=by_heart) for name in ("whole", "killed")
    )
    whole.finish()
    chance = random.Random(kills)
    done = 0
    while done < kills:
        before, kept = killed.judged(), killed.journal()
        assert killed.kill(chance.randrange(0, 12, 2), chance.uniform(0, 0.25)), "make it longer"
        done += 1
        assert not kept.keys() & (killed.judged() - before).keys()
        now = killed.journal()
        assert {place: now[place] for place in kept.keys() & now.keys()} == {
            place: line for place, line in kept.items() if place in now
        }
        lost = {step for step, _, _ in kept.keys() - now.keys()}
        assert not lost or max(lost) < min((step for step, _, _ in now), default=99)
    before, kept = killed.judged(), killed.journal()
    killed.finish()
    assert not kept.keys() & (killed.judged() - before).keys()
    one, other = (weights(run.folder / "model") for run in (whole, killed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert _metrics(killed.folder) == _metrics(whole.folder)
