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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from xcoder_train.runs.stage import main

Weights = Callable[[Path], dict[str, torch.Tensor]]
Place = tuple[int, int, int]
"""Step, slot and number of a rollout."""
DYNAMIC: dict[str, Any] = {"dynamic_sampling": {"rounds": 3, "oversample": 1.5}}
BOTH: dict[str, Any] = {**DYNAMIC, "online_rates": {}}
TWO_UPDATES: dict[str, Any] = {"updates_per_rollouts": 2}
TOGETHER = 2
"""Rollouts that a process samples at once."""


def _work(recipe: Path, rank: int, processes: int, port: int) -> None:
    """One process of the stage; what it has sampled is counted, what it is about to judge is written down."""
    os.setsid()
    if processes > 1:
        world = {"RANK": rank, "WORLD_SIZE": processes, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in world.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (recipe.parent / f"errors-{rank}").open("ab") as errors:
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
    from xcoder_train.grpo import train as grpo
    from xcoder_train.grpo.groups import Groups

    judge_and_keep, recipes_sampler = Groups._judged, grpo.sampler

    def sampler(settings: Any) -> Any:
        sample = recipes_sampler(settings)

        def counted(trainer: Any, prompts: Any, seeds: Any) -> Any:
            made = sample(trainer, prompts, seeds)
            with (recipe.parent / f"sampled-{rank}").open("a") as log:
                log.write("." * len(made))
            return made

        return counted

    def judged(self: Groups, trainer: Any, problems: dict[int, str], sampled: dict[tuple[int, int], Any]) -> Any:
        with (recipe.parent / f"judged-{rank}").open("a") as log:
            log.writelines(f"{trainer.state.global_step} {slot} {number}\n" for slot, number in sampled)
        return judge_and_keep(self, trainer, problems, sampled)

    Groups._judged, grpo.sampler = judged, sampler  # type: ignore[method-assign]
    sys.exit(main(["grpo", str(recipe)]))


class Run:
    """One recipe, started again and again; its processes are forked from one that has imported what they need."""

    def __init__(self, folder: Path, values: dict[str, Any], processes: int, **inputs: Path) -> None:
        folder.mkdir()
        self.recipe = folder / "recipe.yaml"
        own = {"inputs": {name: str(path) for name, path in inputs.items()}, "runs_dir": str(folder / "runs")}
        self.values = {**values, **own}
        self.divide(processes)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["xcoder_train.grpo.train", "trl", "peft", "accelerate.state"])

    def divide(self, processes: int) -> None:
        """Give the next starts so many processes."""
        self.processes = processes
        section = {**self.values["grpo"], "launch": {"processes": processes}}
        values = {**self.values, "grpo": section, "judge": {"workers": processes}}
        self.recipe.write_text(yaml.safe_dump(values))

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

    def kill(self, rollouts: int, seconds: float, victim: int | None) -> bool:
        """Start it and kill it so long after it has judged so many rollouts more. False where it ended before.

        Of a victim alone the others are told a moment later to end, and killed where they do not, as launchers do.
        """
        started, before = self.start(), self.judged().total()
        instant = None if rollouts else time.monotonic() + seconds
        while all(process.is_alive() for process in started) and (instant is None or time.monotonic() < instant):
            if instant is None and self.judged().total() >= before + rollouts:
                instant = time.monotonic() + seconds
            time.sleep(0.005)
        was_running = all(process.is_alive() for process in started)
        if victim is not None and started[victim].is_alive():
            os.killpg(started[victim].pid, signal.SIGKILL)
            time.sleep(seconds)
        for process in started:
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL if victim is None else signal.SIGTERM)
            process.join(10)
            if process.is_alive():  # it waits in torch for the others to begin, and hears no signal
                os.killpg(process.pid, signal.SIGKILL)
                process.join()
        assert was_running or not any(process.exitcode for process in started), self._errors()
        return was_running

    def judged(self) -> Counter[Place]:
        """How often any start has sampled a rollout and begun to judge it."""
        logs = sorted(self.recipe.parent.glob("judged-*"))
        lines = [line for log in logs for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return Counter(tuple(map(int, line.split())) for line in lines)  # type: ignore[misc]

    def sampled(self) -> int:
        """Rollouts that any start has sampled, whatever became of them."""
        return sum(log.stat().st_size for log in self.recipe.parent.glob("sampled-*"))

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


def _forms() -> Iterator[Any]:
    """Few kills by default; on one process and two as many as the promise says in the slow tests."""
    yield pytest.param(2, {**DYNAMIC, **TWO_UPDATES}, 2, id="2-dynamic-two-updates-2")
    for processes in (1, 2):
        for name, changed in {
            "": {},
            "-dynamic": DYNAMIC,
            "-two-updates": TWO_UPDATES,
            "-dynamic-online": BOTH,
        }.items():
            yield pytest.param(processes, changed, 50, id=f"{processes}{name}-50", marks=pytest.mark.slow)
    yield pytest.param(2, {**DYNAMIC, **TWO_UPDATES}, 50, id="2-dynamic-two-updates-50", marks=pytest.mark.slow)


@pytest.mark.parametrize(("processes", "changed", "kills"), [*_forms()])
def test_kills_inside_a_step_lose_and_double_no_judged_rollout_and_change_nothing(
    processes: int,
    changed: dict[str, Any],
    kills: int,
    tmp_path: Path,
    synthesis: Path,
    by_heart: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    """Two processes share a group: the rollouts of one may be kept and those of the other not. Every third kill there
    is of one of them alone."""
    values = recipe_values(
        "grpo",
        prompts_per_step=3,
        micro_batch=2,
        rollout_batch=TOGETHER,
        training={"max_steps": 4 + kills + kills % 2, "save_steps": 4},
        **changed,
    )
    whole, killed = (
        Run(tmp_path / name, values, processes, synth=synthesis, sft=by_heart) for name in ("whole", "killed")
    )
    whole.finish()
    chance = random.Random(kills)
    for number in range(kills):
        before, sampled, kept = killed.judged(), killed.sampled(), killed.journal()
        victim = chance.randrange(processes) if processes > 1 and number % 3 == 1 else None
        assert killed.kill(chance.randrange(0, 12, 2), chance.uniform(0, 0.25), victim), "make it longer"
        _check_nothing_is_made_again(killed, before, sampled, kept)
        now = killed.journal()
        assert {place: now[place] for place in kept.keys() & now.keys()} == {
            place: line for place, line in kept.items() if place in now
        }
        lost = {step for step, _, _ in kept.keys() - now.keys()}
        assert not lost or max(lost) < min((step for step, _, _ in now), default=99)
    before, sampled, kept = killed.judged(), killed.sampled(), killed.journal()
    killed.finish()
    _check_nothing_is_made_again(killed, before, sampled, kept)
    one, other = (weights(run.folder / "model") for run in (whole, killed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert _metrics(killed.folder) == _metrics(whole.folder)


def _check_nothing_is_made_again(run: Run, judged: Counter[Place], sampled: int, kept: dict[Place, bytes]) -> None:
    """Since these were counted: each process may have been killed between sampling a batch and judging it."""
    new = run.judged() - judged
    assert not kept.keys() & new.keys()
    assert 0 <= run.sampled() - sampled - new.total() <= TOGETHER * run.processes


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_what_was_kept(
    before: int, after: int, tmp_path: Path, synthesis: Path, by_heart: Path, recipe_values: Callable[..., Any]
) -> None:
    values = recipe_values("grpo", prompts_per_step=3, micro_batch=2, rollout_batch=TOGETHER, **DYNAMIC)
    run = Run(tmp_path / "run", values, before, synth=synthesis, sft=by_heart)
    assert run.kill(8, 0, None)
    judged, kept = run.judged(), run.journal()
    assert len(kept) >= 8 - before * TOGETHER
    run.divide(after)
    run.finish()
    assert not kept.keys() & (run.judged() - judged).keys()
    assert len(run.judged()) >= 4 * 3 * 4
