"""HumanEval+ and MBPP+ (EvalPlus, Liu et al. 2023) from local files in their published format, judged by their tests.

The published rows (`evalplus/humanevalplus` and `evalplus/mbppplus` on the hub, `HumanEvalPlus-OriginFmt.jsonl`) hold
a test program each: HumanEval+'s defines `check(candidate)`, MBPP+'s calls the function itself. Such a program is the
input of the problem's one test. What is judged is a small program around the model's, which runs it, runs the test
program beside it, and says so where no assertion failed. `MbppPlus.jsonl` of EvalPlus itself holds assertions of the
original MBPP and inputs without outputs; it is read as what it can judge by: MBPP, not MBPP+.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.row_files import read_rows
from xcoder_train.core.errors import InputError
from xcoder_train.core.problem import Limits, Problem, TestCase, problem_id

STYLE = "evalplus"
# EvalPlus gives a program of HumanEval+ about a second and 4 GiB; one process runs all of a problem's inputs here, and
# imports numpy first, so it has ten.
LIMITS = Limits(seconds=10.0, memory_mib=4096)
PASSED = "all assertions held"

_HARNESS = """\
import contextlib as _contextlib, io as _io, sys as _sys
_test = _sys.stdin.read()
_sys.stdin = _io.StringIO()
_names = {{"__name__": "solution"}}
with _contextlib.redirect_stdout(_io.StringIO()):
    exec(compile({code!r}, "solution.py", "exec"), _names)
    exec(compile(_test, "test.py", "exec"), _names)
_sys.stdout.write({passed!r})
"""


def load_evalplus(path: Path) -> Benchmark:
    """Every row as one problem with one test. Raises InputError with the row and the field that is wrong."""
    problems: list[Problem] = []
    tests: dict[str, tuple[TestCase, ...]] = {}
    kinds: dict[str, str] = {}
    for place, row in read_rows(path, "HumanEval+ or MBPP+ in the format of EvalPlus (JSONL or Parquet)"):
        statement, test, kind = _read(row, str(place))
        identity = problem_id(statement, "stdin", None, None)
        if identity in tests:
            raise InputError(f"{place}: the same problem as an earlier row; remove one of them")
        source = f"evalplus:{row['task_id']}"
        problems.append(Problem(identity, statement, STYLE, "stdin", limits=LIMITS, source=source))
        tests[identity] = (TestCase(identity, 0, test, PASSED, "private"),)
        kinds[identity] = kind
    if not problems:
        raise InputError(f"{path} holds no row; expected one problem per row in the format of EvalPlus")
    said = ", ".join(f"{kind}: {list(kinds.values()).count(kind)}" for kind in dict.fromkeys(kinds.values()))
    return Benchmark(
        name=path.stem,
        problems=problems,
        tests=tests,
        group=kinds,
        grouping="set",
        files=(path,),
        description=f"{path.stem}: {len(problems)} problems of {path.name} ({said}), judged by their test programs",
    )


def program_under_test(problem: Problem, code: str) -> str:
    """What is judged for a model's program: itself, or for a problem of this module the harness around it."""
    return _HARNESS.format(code=code, passed=PASSED) if problem.style == STYLE else code


def _read(row: Mapping[str, Any], where: str) -> tuple[str, str, str]:
    """The statement that a model is shown, the test program, and the set that it belongs to."""
    for name in ("task_id", "prompt"):
        if name not in row:
            raise InputError(f"{where}: the field {name!r} is missing; rows of EvalPlus have it")
    prompt, entry_point, test = row["prompt"], row.get("entry_point"), row.get("test")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{where}, field 'prompt': expected text, found {type(prompt).__name__}")
    if isinstance(test, str) and isinstance(entry_point, str):
        if not entry_point.isidentifier():
            raise InputError(f"{where}, field 'entry_point': expected a Python name, found {entry_point!r}")
        statement = f"Complete this Python function.\n\n```python\n{prompt.rstrip()}\n```"
        return statement, f"{test}\n\ncheck({entry_point})\n", "HumanEval+"
    if isinstance(test, str):
        return _with_example(prompt, row.get("test_list")), test, "MBPP+"
    if isinstance(row.get("assertion"), str):
        return prompt.strip(), row["assertion"], "MBPP (the base assertions alone)"
    raise InputError(
        f"{where}: there is neither a `test` nor an `assertion` program to judge by. Expected the rows of "
        "evalplus/humanevalplus or evalplus/mbppplus (JSONL or Parquet), or HumanEvalPlus-OriginFmt.jsonl"
    )


def _with_example(prompt: str, asserts: Any) -> str:
    """MBPP names the function only in its tests, so models are shown the first one, as EvalPlus does."""
    if not isinstance(asserts, list) or not asserts:
        return prompt.strip()
    return f"{prompt.strip()}\nYour program should satisfy this test:\n\n{asserts[0]}"
