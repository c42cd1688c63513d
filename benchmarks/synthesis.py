"""What synthesis costs beside running programs and asking the teacher: CPU time, and memory, by stage.

    python -m benchmarks.synthesis [--tasks 2500 5000 10000 20000] [--reasoning 4000] [--out FILE.json]

The stages are those of `xcoder synth`, with a language model as the teacher; the model and the judge are stand-ins
(`synthesis_stand_ins.py`) whose own CPU time is taken off. Each number of tasks runs in a process of its own, so that
its peak memory is its own. What the judge would take is measured in the same run: the programs of `benchmarks/programs`
are executed by the real judge, for the CPU time of an execution and for what handling it costs this process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.judge.workloads import realistic_programs
from benchmarks.synthesis_stand_ins import Spent, StandInJudge, StandInModel
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from synth.config import SynthSettings
from synth.pipeline import synthesise
from xcoder_core.stage import StageContext

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = {
    "teacher": {"kind": "openai", "server": {"base_url": "http://localhost:1/v1", "model": "stand-in"}},
    "styles": {"codeforces": 0.85, "leetcode": 0.15},
    "inputs": {"generated_share": 0.5},
}
"""Defaults otherwise: 15 inputs and 8 candidates a task, validator and brute force asked for."""


def measure_stages(tasks: int, reasoning: int) -> dict[str, Any]:
    """CPU seconds and peak memory of every stage, and what was run. Once in a process: the peak is the process's."""
    settings = SynthSettings.model_validate({**SETTINGS, "splits": _splits(tasks)})
    stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def timed(stage: str, timings: dict[str, dict[str, float]]) -> Iterator[None]:
        _forget_peak()
        cpu, spent = time.process_time(), Spent.seconds
        yield
        taken = time.process_time() - cpu - (Spent.seconds - spent)
        stages[stage] = {"cpu_seconds": round(taken, 3), "peak_mib": round(_memory("VmHWM"), 1)}

    with (
        TemporaryDirectory(prefix="synthesis-") as folder,
        patch("synth.pipeline._timed", timed),
        patch("synth.language_model.teacher.open_teacher", lambda *_: StandInModel(reasoning)),
        patch("synth.language_model.teacher.open_judge", StandInJudge),
        patch("synth.execution.open_judge", StandInJudge),
    ):
        before = _memory("VmRSS")
        context = StageContext("benchmark", "synth", "key", Path(folder), 1, {})
        synthesise(settings, JudgeSettings(), "plain", context)
        funnel = json.loads((Path(folder) / "funnel.json").read_text())
    return {
        "tasks": tasks,
        "candidates": sum(split["candidates"] for split in funnel.values()),
        "executions": StandInJudge.runs_of_candidates,
        "kept": sum(split["kept"] for split in funnel.values()),
        "mib_at_start": round(before, 1),
        "stages": stages,
    }


def measure_judging(every: int) -> dict[str, float]:
    """CPU seconds of an execution by the real judge, and of this process for each: one worker, all inputs."""
    programs = [
        Submission(program.id, program.code, program.inputs, (None,) * len(program.inputs))
        for program in realistic_programs(every)
    ]
    with Judge(JudgeSettings(workers=1)) as judge:
        list(judge.execute(programs[:1]))  # the first one waits for the judge to stand
        own = time.process_time()
        runs = [run for execution in judge.execute(programs) for run in execution.runs]
        own = time.process_time() - own
    seconds = sorted(run.cpu_seconds for run in runs)
    return {
        "programs": len(programs),
        "executions": len(runs),
        "cpu_seconds_per_execution": round(sum(seconds) / len(runs), 6),
        "least_cpu_seconds": round(seconds[0], 6),
        "greatest_cpu_seconds": round(seconds[-1], 6),
        "handling_cpu_seconds_per_execution": round(own / len(runs), 6),
    }


def summarise(sizes: list[dict[str, Any]], judging: dict[str, float]) -> dict[str, Any]:
    """Bookkeeping as a share of the judge's CPU time at the largest size, and how memory grows between the last two."""
    for size in sizes:
        stages = size["stages"].values()
        size["peak_mib"] = max(stage["peak_mib"] for stage in stages)
        size["stage_cpu_seconds"] = round(sum(stage["cpu_seconds"] for stage in stages), 2)
        size["handling_cpu_seconds"] = round(size["executions"] * judging["handling_cpu_seconds_per_execution"], 2)
        size["judge_cpu_seconds"] = round(size["executions"] * judging["cpu_seconds_per_execution"], 1)
        bookkeeping = size["stage_cpu_seconds"] + size["handling_cpu_seconds"]
        size["bookkeeping_share"] = round(bookkeeping / size["judge_cpu_seconds"], 5)
    growth = None
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        growth = round((last["peak_mib"] - first["peak_mib"]) * (1 << 20) / (last["tasks"] - first["tasks"]))
    return {"judging": judging, "sizes": sizes, "peak_bytes_per_further_task": growth}


def _splits(tasks: int) -> dict[str, Any]:
    held_out, explored = tasks // 20, tasks // 5
    return {
        "train": {"use": "sft", "tasks": tasks - held_out - explored},
        "explore": {"use": "rl", "tasks": explored},
        "heldout": {"use": "evaluation", "tasks": held_out},
    }


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory(what: str) -> float:
    """In MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2500, 5000, 10_000, 20_000])
    parser.add_argument("--reasoning", type=int, default=4000, help="characters of reasoning in a solution")
    parser.add_argument("--every", type=int, default=1, help="one in so many of the realistic programs is judged")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--one", type=int, default=None, help="measure one size here and print it as JSON")
    asked = parser.parse_args(arguments)
    if asked.one is not None:
        print(json.dumps(measure_stages(asked.one, asked.reasoning)))
        return
    judging = measure_judging(asked.every)
    sizes = []
    for tasks in asked.tasks:
        command = [sys.executable, "-m", "benchmarks.synthesis", "--one", str(tasks)]
        command += ["--reasoning", str(asked.reasoning)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
        sizes.append(json.loads(run.stdout))
        print(f"{tasks} tasks: {sizes[-1]}", file=sys.stderr)
    result = {"reasoning_characters": asked.reasoning, **summarise(sizes, judging)}
    text = json.dumps(result, indent=2)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
