"""One process per harness, so that what is measured is that harness alone, and in its steady state.

The benchmark talks to it in JSON lines over a socket: first what there is to run, then as often as it likes "run it".
Nothing else lives in the process: LiveCodeBench's checker forks itself, and would otherwise pay for our imports.

CPU time is that of the process, of its children that have ended (and theirs), and of its living descendants, such as
the zygotes of the judge, read from /proc in ticks of 10 ms. Start-up and imports fall out: the clock runs around the
programs only, after one that is not counted.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.judge.workloads import Program

TICK = 1 / os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which programs were accepted, in order, and the CPU seconds of the tests alone where a harness knows them."""

    accepted: list[bool]
    tests_cpu: float | None = None


Prepare = Callable[[list[Program]], Callable[[], Outcome]]
"""A harness at work: puts programs into its own form, and gives back what judges them. Only that part is timed."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What some programs cost. Times are in seconds, over all of them.

    `cpu` counts every process, `own_cpu` the harness's first process alone (for the judge: the supervisor).
    `growth_mib` is how far that process's resident size rose, at its peak, above where it stood before.
    """

    programs: int
    cpu: float
    own_cpu: float
    wall: float
    page_faults: int
    growth_mib: float
    tests_cpu: float | None


class HarnessProcess:
    """A harness in a process of its own. `options` are the keyword arguments of the harness."""

    def __init__(self, harness: str, programs: list[Program], **options: Any) -> None:
        self.name = harness
        near, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.judge.process", str(far.fileno())],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
            )
        self._stream = near.makefile("rw", encoding="utf-8")
        near.close()
        self._ask({"harness": harness, "options": options, "programs": [asdict(program) for program in programs]})

    def measure(self, times: int = 1, only: int | None = None) -> Measurement:
        """Run all programs, or the one of index `only`, `times` times.

        Raises `SystemExit` where a verdict is not the right one: a harness that is wrong is not measured.
        """
        return Measurement(**self._ask({"times": times, "only": only}))

    def close(self) -> None:
        """End the process and what it has started."""
        self._stream.close()
        self._process.wait()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._stream.write(json.dumps(question) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except OSError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise SystemExit(f"the harness {self.name!r} failed: {answer['error']}")
        return answer


def sum_of(parts: list[Measurement]) -> Measurement:
    """Several measurements of one harness as one; its growth is the largest."""
    tests_cpu = [part.tests_cpu for part in parts if part.tests_cpu is not None]
    return Measurement(
        programs=sum(part.programs for part in parts),
        cpu=sum(part.cpu for part in parts),
        own_cpu=sum(part.own_cpu for part in parts),
        wall=sum(part.wall for part in parts),
        page_faults=sum(part.page_faults for part in parts),
        growth_mib=max(part.growth_mib for part in parts),
        tests_cpu=sum(tests_cpu) if tests_cpu else None,
    )


def serve(descriptor: int) -> None:
    """The process's side: answer until the other end is closed."""
    with socket.socket(fileno=descriptor) as end, end.makefile("rw", encoding="utf-8") as stream:
        try:
            first = json.loads(stream.readline())
            programs = [Program(**_tuples(program)) for program in first["programs"]]
            with open_harness(first["harness"], first["options"]) as prepare:
                check(programs[:1], prepare(programs[:1])())
                answer(stream, {})
                for line in stream:
                    question = json.loads(line)
                    chosen = programs if question["only"] is None else [programs[question["only"]]]
                    answer(stream, asdict(measured(prepare, chosen * question["times"])))
        except BaseException:
            with contextlib.suppress(BrokenPipeError):
                answer(stream, {"error": traceback.format_exc()})


def answer(stream: Any, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


def open_harness(name: str, options: dict[str, Any]) -> AbstractContextManager[Prepare]:
    """Each harness is a function of its name, in `peers` or `own`; only the one that is wanted is imported."""
    if name.startswith("judge"):
        from benchmarks.judge import own as module
    else:
        from benchmarks.judge import peers as module  # type: ignore[no-redef]
    harness: AbstractContextManager[Prepare] = getattr(module, name)(**options)
    return harness


def measured(prepare: Prepare, programs: list[Program]) -> Measurement:
    """Run the programs with clocks around them."""
    run = prepare(programs)
    multiprocessing.active_children()  # reaps what LiveCodeBench has killed and not waited for
    before, resident = usage(), reset_peak()
    started, own = time.perf_counter(), time.process_time()
    outcome = run()
    wall, own = time.perf_counter() - started, time.process_time() - own
    multiprocessing.active_children()
    after, peak = usage(), _status_mib("VmHWM")
    check(programs, outcome)
    cpu, faults = after[0] - before[0], after[1] - before[1]
    return Measurement(len(programs), cpu, own, wall, faults, peak - resident, outcome.tests_cpu)


def check(programs: list[Program], outcome: Outcome) -> None:
    wrong = [p.id for p, accepted in zip(programs, outcome.accepted, strict=True) if accepted != (p.verdict == "AC")]
    if wrong:
        raise ValueError(f"wrong verdict on {', '.join(sorted(set(wrong)))}")


def usage() -> tuple[float, int]:
    """CPU seconds and minor page faults of this process and all below it, living or ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    faults = sum(usage.ru_minflt for usage in usages)
    for fields in living_descendants():
        faults += int(fields[7]) + int(fields[8])  # its own and those of its ended children
        cpu += TICK * sum(map(int, fields[11:15]))  # user and system time, its own and its ended children's
    return cpu, faults


def living_descendants() -> list[list[str]]:
    """The fields of /proc/PID/stat after the name (proc(5) counts the first of them as the third)."""
    processes: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                processes[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
    found: list[int] = [os.getpid()]
    for parent in found:
        found += [pid for pid, fields in processes.items() if int(fields[1]) == parent]
    return [processes[pid] for pid in found[1:]]


def reset_peak() -> float:
    """Let the kernel forget the peak resident size of this process; its resident size now in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def _status_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"inputs": tuple(record["inputs"]), "expected": tuple(record["expected"])}


if __name__ == "__main__":
    serve(int(sys.argv[1]))
