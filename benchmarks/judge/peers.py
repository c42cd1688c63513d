"""The harnesses that the judge is compared with, each run for real, and the programs' own CPU time.

LiveCodeBench's checker comes from a checkout of https://github.com/LiveCodeBench/LiveCodeBench outside this repository.
Only `lcb_runner/evaluation/compute_code_generation_metrics.py` and what that module itself imports (`testing_util`,
`pass_k_utils`, numpy, tqdm) are loaded: the two packages above it are entered as empty ones, since the
`__init__` of `lcb_runner.evaluation` would import scenarios that are not needed here. Nothing in it is changed. A fork
costs more in a larger process, and so it is measured twice: in this lean process, and in one that has imported torch
and datasets, as both of its own programs (`lcb_runner.runner.main` and `custom_evaluator`) have when they check.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.judge.process import Outcome, Prepare
from benchmarks.judge.workloads import Program


@contextmanager
def bare() -> Iterator[Prepare]:
    """`python -I -S -c` per test: the least that starting an interpreter can cost. No isolation, no limit but time."""

    yield lambda programs: lambda: Outcome([accepts(program, ["-I", "-S", "-c", program.code]) for program in programs])


@contextmanager
def subprocess_per_test() -> Iterator[Prepare]:
    """The program in a file and `python FILE` per test, as many reward functions do it. No isolation."""
    with tempfile.TemporaryDirectory() as folder:

        def run(programs: list[Program]) -> Outcome:
            accepted = []
            for program in programs:
                path = Path(folder) / "program.py"
                path.write_text(program.code, encoding="utf-8")
                accepted.append(accepts(program, [str(path)]))
                path.unlink()
            return Outcome(accepted)

        yield lambda programs: lambda: run(programs)


def accepts(program: Program, arguments: list[str]) -> bool:
    """Run every test as `python ARGUMENTS`; True where all outputs are right."""
    passed = 0
    for given, expected in zip(program.inputs, program.expected, strict=True):
        command = [sys.executable, *arguments]
        ended = subprocess.run(command, input=given.encode(), capture_output=True, timeout=program.seconds)
        passed += ended.returncode == 0 and ended.stdout.decode() == expected
    return passed == len(program.inputs)


@contextmanager
def livecodebench(checkout: str, imports: Sequence[str] = ()) -> Iterator[Prepare]:
    """`check_correctness` on one program after another: a manager process and a process for all tests of each."""
    module = load_livecodebench(checkout)
    for name in imports:
        importlib.import_module(name)

    def passes(program: Program, tests: dict[str, str]) -> bool:
        results, _ = module.check_correctness(tests, program.code, int(program.seconds), False)
        return is_pass(results)

    def prepare(programs: list[Program]) -> Callable[[], Outcome]:
        samples = [sample(program) for program in programs]
        return lambda: Outcome(list(map(passes, programs, samples)))

    yield prepare


@contextmanager
def livecodebench_pool(checkout: str, processes: int) -> Iterator[Prepare]:
    """`evaluate_generations`, its own way to check many: a pool of processes that each call `check_correctness`."""
    module = load_livecodebench(checkout)

    def prepare(programs: list[Program]) -> Callable[[], Outcome]:
        samples = [sample(program) for program in programs]
        codes = [[program.code] for program in programs]

        def run() -> Outcome:
            results, _ = module.evaluate_generations(
                samples, codes, debug=False, num_process_evaluate=processes, timeout=int(programs[0].seconds)
            )
            return Outcome([is_pass(results[index][0]) for index in range(len(programs))])

        return run

    yield prepare


def load_livecodebench(checkout: str) -> Any:
    multiprocessing.set_start_method("fork", force=True)  # what it relies on, and no longer the default everywhere
    for name in ("lcb_runner", "lcb_runner.evaluation"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(checkout, *name.split(".")))]
        sys.modules[name] = package
    return importlib.import_module("lcb_runner.evaluation.compute_code_generation_metrics")


def sample(program: Program) -> dict[str, str]:
    """A program's tests in the form of LiveCodeBench's data set."""
    tests = {"inputs": program.inputs, "outputs": program.expected, "fn_name": program.function_name}
    return {"input_output": json.dumps(tests)}


def is_pass(results: list[Any]) -> bool:
    """How it counts a list of results."""
    return all(result > 0 for result in results)


@contextmanager
def bodies(checkout: str | None = None) -> Iterator[Prepare]:
    """No harness: every program executed on each test in this process, as a module or, with LiveCodeBench's checkout,
    as the function that it makes of it. `tests_cpu` is the CPU time of the executions alone."""
    if checkout is not None:
        load_livecodebench(checkout)
        testing_util = importlib.import_module("lcb_runner.evaluation.testing_util")

    def body(program: Program) -> Callable[[], None]:
        if checkout is not None:
            source = testing_util.make_function(testing_util.clean_if_name(program.code))
            module: dict[str, Any] = {"__name__": "tmp_sol"}
            exec(source, module)
            function: Callable[[], None] = module["wrapped_function"]
            return function
        code = compile(program.code, program.id, "exec", dont_inherit=True)
        return lambda: exec(code, {"__name__": "__main__"})

    def run(programs: list[Program]) -> Outcome:
        accepted, cpu = [], 0.0
        for program in programs:
            execute = body(program)
            passed = 0
            for given, expected in zip(program.inputs, program.expected, strict=True):
                written = io.BytesIO()
                output = io.TextIOWrapper(written)
                with contextlib.redirect_stdout(output), standard_input(given):
                    before = time.process_time()
                    execute()
                    cpu += time.process_time() - before
                output.flush()
                passed += written.getvalue().decode() == expected
            accepted.append(passed == len(program.inputs))
        return Outcome(accepted, cpu)

    yield lambda programs: lambda: run(programs)


@contextmanager
def standard_input(text: str) -> Iterator[None]:
    original = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        yield
    finally:
        sys.stdin = original
