"""The file interface: verdict lines in the order and form that is promised, and clear errors before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from reward.config import JudgeSettings
from reward.judge_file import judge_file
from xcoder_core.errors import InputError

TESTS = [{"input": "1 2\n", "expected": "3\n"}, {"input": "3 4\n", "expected": "7\n"}]
SUM = "a, b = map(int, input().split())\nprint(a + b)"


def line(**changes: Any) -> str:
    record = {"id": "x", "language": "python", "code": SUM, "function_name": None, "tests": TESTS} | changes
    return json.dumps(record) + "\n"


def test_verdicts_are_written_in_order_and_in_the_promised_form(tmp_path: Path) -> None:
    source, output = tmp_path / "submissions.jsonl", tmp_path / "verdicts.jsonl"
    function = {"code": "def double(n): return 2 * n", "function_name": "double"}
    source.write_text(
        line(id="right")
        + "\n"
        + line(id="wrong", code="print(3)", limits={"seconds": 1.5, "memory_mib": 256})
        + line(id="function", tests=[{"input": "[1]", "expected": "[1, 1]"}], **function)
    )
    judge_file(source, output, JudgeSettings(), stop_at_first_failure=False)
    verdicts = [json.loads(text) for text in output.read_text().splitlines()]
    assert [(v["id"], v["verdict"], v["passed"], v["total"]) for v in verdicts] == [
        ("right", "AC", 2, 2),
        ("wrong", "WA", 1, 2),
        ("function", "AC", 1, 1),
    ]
    assert verdicts[0].keys() == {"id", "verdict", "passed", "total", "tests", "tier", "policy"}
    assert verdicts[0]["tests"][0].keys() == {"verdict", "cpu_seconds", "wall_seconds", "memory_mib"}
    assert verdicts[0]["policy"] == "faithful"
    assert list(tmp_path.iterdir()) in ([source, output], [output, source])


def test_without_an_output_verdicts_go_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "submissions.jsonl"
    source.write_text(line(code="print(0)"))
    judge_file(source, None, JudgeSettings(), stop_at_first_failure=True)
    captured = capsys.readouterr()
    (verdict,) = [json.loads(text) for text in captured.out.splitlines()]
    assert (verdict["verdict"], len(verdict["tests"]), verdict["total"]) == ("WA", 1, 2)
    assert captured.err == ""


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{oops\n", "not a JSON value"),
        ("[1]\n", "expected a JSON object"),
        (line(tests=[]), "has no tests"),
        (line(code=7), "code: expected text"),
        (
            line(tests=[{"input": "1", "expected": "2", "want": "3"}]),
            r"tests\[0\]: unknown field 'want'; known are expected",
        ),
        (
            line(function_name=7, code=None),
            "code: expected text, found null; function_name: expected text or null, found a",
        ),
        (line(tests={}), "tests: expected a list"),
        (line(tests=[{"input": "1"}]), r"tests\[0\]: the field 'expected' is missing"),
        (line(tests=[{"input": "1", "expected": 1}]), r"tests\[0\].expected: expected text"),
        (line(language="cobol"), "known languages are python"),
        (line(limits={"seconds": 0}), "limits.seconds is 0"),
        (line(limits={"seconds": float("nan")}), "limits.seconds is nan"),
        (line(limits={"seconds": True}), "limits.seconds: expected a number"),
        (line(limits={"memory_mib": 1.5}), "limits.memory_mib: expected a whole number"),
        (line(limits={"minutes": 1}), "limits: unknown field 'minutes'"),
        (line(functionname="f"), "unknown field 'functionname'"),
        (line(function_name="not a name"), "not a Python name"),
        ('{"id": "x"}\n', "the field 'tests' is missing"),
        ("[" * 100_000 + "\n", "not a JSON value"),
        (line(id="x"), "the id 'x' is that of line 1 already"),
        (line(id="\ud800"), "half of a surrogate pair"),
        (line(id="y", limits={"seconds": 10**400}), "limits.seconds: expected at most 3600, found 401 digits"),
        ('{"id": "y", "id": "z"}\n', "the key 'id' is given twice"),
        ('{"id": "y", "limits": {"seconds": 1, "seconds": 2}}\n', "the key 'seconds' is given twice"),
        (
            line(id="y", function_name="f", tests=[{"input": "1\n[2", "expected": "3"}]),
            r"tests\[0\].input: expected one",
        ),
        (
            line(id="y", function_name="f", tests=[{"input": "1", "expected": "3 4"}]),
            r"tests\[0\].expected: expected one",
        ),
    ],
)
def test_a_line_that_is_not_a_submission_is_named_before_anything_runs(tmp_path: Path, bad: str, message: str) -> None:
    source, output = tmp_path / "submissions.jsonl", tmp_path / "verdicts.jsonl"
    source.write_text(line() + "\n" + bad + line())
    with pytest.raises(InputError, match="line 3: .*" + message):
        judge_file(source, output, JudgeSettings(), stop_at_first_failure=True)
    assert list(tmp_path.iterdir()) == [source]


def test_bytes_that_are_not_text_and_missing_files_are_input_errors(tmp_path: Path) -> None:
    source = tmp_path / "submissions.jsonl"
    source.write_bytes(line().encode() + b"\xff\xfe\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        judge_file(source, None, JudgeSettings(), stop_at_first_failure=True)
    with pytest.raises(InputError, match="cannot read submissions"):
        judge_file(tmp_path / "absent.jsonl", None, JudgeSettings(), stop_at_first_failure=True)
    for text in ("", "\n \n"):
        source.write_text(text)
        with pytest.raises(InputError, match="submissions.jsonl holds no submissions"):
            judge_file(source, None, JudgeSettings(), stop_at_first_failure=True)
    with pytest.raises(InputError, match="not a plain file"):
        judge_file(tmp_path, None, JudgeSettings(), stop_at_first_failure=True)
