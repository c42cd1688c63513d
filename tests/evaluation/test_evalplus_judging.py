"""What passes a problem of HumanEval or MBPP, what fails it and as what, in the forms in which models answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from evaluation.evalplus import load_evalplus
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.problem import Limits

ROOT = {
    "task_id": "HumanEval/1",
    "prompt": "import math\nfrom typing import List\n\n\ndef area(side: float) -> float:\n"
    "    return side * side\n\n\n"
    'def sides(areas: List[float]) -> List[float]:\n    """ The side of each square. """\n',
    "canonical_solution": "    return [math.sqrt(each) for each in areas]\n",
    "entry_point": "sides",
    "test": "import random\ndef check(candidate):\n    for _ in range(20):\n        wanted = random.randint(0, 99)\n"
    "        assert candidate([area(wanted)]) == [wanted]\n    assert candidate([]) == []\n",
}
"""The prompt's import, its typing and its helper are needed; the test draws its inputs, and uses the helper too."""
PLAIN = {
    "task_id": "HumanEval/2",
    "prompt": 'def total(xs):\n    """ The sum. """\n',
    "entry_point": "total",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}
START = ROOT["prompt"].index("def sides")
RIGHT = ROOT["prompt"] + ROOT["canonical_solution"]
ALONE = RIGHT[START:]
BODY = ROOT["canonical_solution"]
USAGE = "Example usage:\n```python\nprint(sides([4.0]))\n```\n"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```\n"


@pytest.fixture
def outcomes(tmp_path: Path, replay: Any) -> Callable[..., list[str]]:
    """What becomes of answers to a row's problem, in their order."""

    def judge(row: dict[str, Any], answers: list[str], extraction: str = "last_block") -> list[str]:
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(row))
        benchmark = load_evalplus(path)
        benchmark.problems[0] = replace(benchmark.problems[0], limits=Limits(1.0, 512))
        settings = EvaluationSettings(samples=len(answers), k=(1,), bootstrap=100, extraction=extraction)
        folder = tmp_path / "result"
        given = replay({"": answers})
        result = evaluate_model(settings, JudgeSettings(workers=2), [benchmark], "m", given, folder, 7, "plain")
        return [row.failure for row in result.verdicts()]

    return judge


def test_a_program_a_function_and_a_body_alone_all_meet_what_the_prompt_defines(outcomes: Any) -> None:
    answers = [RIGHT, ALONE, BODY, ALONE.replace("List[float]", "list"), "from math import *\n" + ALONE]
    assert outcomes(ROOT, list(map(fenced, answers))) == ["none"] * 5


def test_texts_of_base_models_are_bodies_also_where_their_first_blanks_are_cut_off(outcomes: Any) -> None:
    assert outcomes(ROOT, [BODY, RIGHT], "livecodebench-base") == ["none"] * 2


def test_the_program_is_the_last_block_that_holds_the_function(outcomes: Any) -> None:
    wrong = fenced(RIGHT.replace("sqrt", "ceil"))
    answers = [fenced(ALONE) + USAGE, wrong + fenced(ALONE) + USAGE, fenced(BODY) + USAGE, fenced(ALONE) + wrong]
    assert outcomes(ROOT, [*answers, RIGHT, USAGE]) == ["none"] * 3 + ["wrong_answer", "none", "runtime"]


def test_each_failure_has_its_own_name(outcomes: Any) -> None:
    programs = {
        "def total(xs):\n    return sum(xs) + 1": "wrong_answer",
        "def total(xs):\n    return None": "wrong_answer",
        "def total(xs):\n    raise ValueError": "runtime",
        "def total(xs):\n    import nothing_of_this_name": "runtime",
        "def total(xs):\n    return undefined": "runtime",
        "def other(xs):\n    return sum(xs)": "runtime",
        "def total(xs) return": "syntax",
        "def total(xs):\n    while True: pass": "time",
        "def total(xs):\n    return len(bytearray(1 << 30))": "memory",
    }
    assert outcomes(PLAIN, list(map(fenced, programs))) == list(programs.values())


FORGED = """\
import atexit, base64, json, os, sys, zlib
def write(text):
    os.write(1, text.encode())
def total(xs):
    return 0
"""
NOTE = "zlib.compress(json.dumps([['value', 0, None]] * 9).encode())"


@pytest.mark.parametrize(
    "code",
    [
        "write('all assertions held')\nos._exit(0)",
        "write('accept')\nos._exit(0)",
        "print('accept')\nraise SystemExit(0)",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
        "atexit.register(write, 'accept')",
        f"write('\\n' + base64.b64encode({NOTE}).decode())\nos._exit(0)",
        "write('\\n' + base64.b64encode(zlib.compress(b'[]')).decode())\nos._exit(0)",
        "os.lseek(0, 0, 0)\nwrite(os.read(0, 100000).decode())\nos._exit(0)",
        "json.dumps = lambda *a, **k: '[]'",
        "json.dumps = lambda *a, **k: 'accept'",
        "sys.modules['pickle'].dumps = json.loads = sys.exit",
        "class Equal(int):\n    __eq__ = lambda *a: True\n    __hash__ = int.__hash__\ntotal = lambda xs: Equal(0)",
        "class Equal:\n    __eq__ = lambda *a: True\ntotal = lambda xs: Equal()",
        "def total(xs):\n    frame = sys._getframe()\n    while frame:\n"
        "        frame.f_globals['check'] = lambda c: None\n        frame = frame.f_back\n    return 0",
        "def total(xs):\n    raise AssertionError",
        "def total(xs):\n    os._exit(0)",
        "def total(xs):\n    sys.exit(0)",
        "raise AssertionError",
        "sys.excepthook = lambda *a: write('accept')\nraise ValueError",
        "sys.__stdout__.write = sys.stdout.write = lambda *a: None",
    ],
)
def test_nothing_but_right_results_passes(outcomes: Any, code: str) -> None:
    (failure,) = outcomes(PLAIN, [fenced(FORGED + code)])
    assert failure in ("wrong_answer", "runtime")


MODULE = """\
from __future__ import annotations
import pickle, sys, typing
from dataclasses import dataclass, field
@dataclass(order=True)
class Node:
    value: int
    after: Node | None = None
    marks: list[int] = field(default_factory=list)
def total(xs):
    assert pickle.loads(pickle.dumps(Node(1))) == Node(1)
    assert typing.get_type_hints(Node)["value"] is int
    assert sys.modules[__name__].Node is Node and Node.__module__ == __name__
    return sum(Node(x).value for x in xs)
print("noise")
if __name__ == "__main__":
    raise SystemExit("tests of its own do not run")
"""


def test_the_program_is_a_module_like_any_other(outcomes: Any) -> None:
    assert outcomes(PLAIN, [fenced(MODULE)]) == ["none"]


@pytest.mark.parametrize(
    ("code", "asserted"),
    [
        ("return {(1, 2): {3}, 'a': [None, 2.5, b'x']}", "f() == {(1, 2): {3}, 'a': [None, 2.5, b'x']}"),
        ("return (x * x for x in range(3))", "list(f()) == [0, 1, 4]"),
        ("return map(str, [1, 2])", "list(f()) == ['1', '2']"),
        ("import re\n    return re.match('a', 'abc')", "f() is not None and f() != True"),
        ("import numpy\n    return numpy.float64(2)", "f() == 2 and isinstance(f(), float)"),
        ("import numpy\n    return numpy.int64(2)", "f() == 2"),
        ("from collections import Counter, deque\n    return Counter('aab'), deque([1])", "f()[0] == {'a': 2, 'b': 1}"),
        ("return float('inf'), 1 << 20000, 1 + 2j", "f() == (float('inf'), 1 << 20000, 1 + 2j)"),
        ("return chr(0xd83d)", "f() == chr(0xd83d)"),
        ("args[0].sort()", "f(xs := [2, 1]) is None and xs == [1, 2]"),
        ("args[0]['a'] = [1]", "f(d := {}) is None and d == {'a': [1]}"),
        ("import random\n    return random.random() < 2", "[f() for _ in 'abc'] == [True] * 3"),
        ("raise KeyError('k')", "raises(KeyError)"),
    ],
)
def test_results_of_any_plain_kind_reach_the_assertions(outcomes: Any, code: str, asserted: str) -> None:
    row = PLAIN | {
        "prompt": 'def f(*args):\n    """ Whatever is asked. """\n',
        "entry_point": "f",
        "test": "def check(f):\n    def raises(kind):\n        try:\n            f()\n        except kind:\n"
        f"            return True\n    assert {asserted}\n",
    }
    assert outcomes(row, [fenced(f"def f(*args):\n    {code}")]) == ["none"]
