"""Benchmarks, submissions and judge files as others write them: packed, marked, a name used twice, no Unicode."""

import codecs
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from evaluation.evalplus import load_evalplus
from evaluation.evaluate import rejudge
from evaluation.interchange import read_submission
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import Measurement
from reward.config import JudgeSettings
from reward.submission import read_submissions
from xcoder_core.errors import InputError

Rows = dict[str, Callable[..., dict[str, Any]]]
SUM = "print(sum(map(int, input().split())))"
HUMANEVAL = {
    "task_id": "HumanEval/7",
    "prompt": 'def twice(x):\n    """ é """\n',
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
WAYS = {
    "packed": gzip.compress,
    "marked": lambda text: codecs.BOM_UTF8 + text,
    "marked and packed": lambda text: gzip.compress(codecs.BOM_UTF8 + text),
    "in two packed parts": lambda text: gzip.compress(text[:9]) + gzip.compress(text[9:]),
}


@pytest.fixture(params=WAYS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], tuple[Path, Path]]:
    """The same text as a plain file and in one of the ways."""

    def write(name: str, text: str) -> tuple[Path, Path]:
        plain, other = tmp_path / name, tmp_path / "other" / f"{name}.gz"
        other.parent.mkdir()
        plain.write_text(text, encoding="utf-8")
        other.write_bytes(WAYS[request.param](text.encode()))
        return plain, other

    return write


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_benchmarks_are_the_same_whatever_packs_them(rows: Rows, packed: Any) -> None:
    plain, other = map(load_livecodebench, packed("b.jsonl", lines(rows["stdin"](), rows["function"]())))
    assert (plain.name, plain.problems, dict(plain.tests)) == (other.name, other.problems, dict(other.tests))


def test_humaneval_is_read_as_it_is_published(packed: Any) -> None:
    plain, other = map(load_evalplus, packed("HumanEval.jsonl", lines(HUMANEVAL)))
    assert other.name == "HumanEval" and "(HumanEval: 1)" in other.description
    assert (plain.problems, plain.tests) == (other.problems, other.tests)


def test_submissions_and_judge_files_are_the_same_whatever_packs_them(
    rows: Rows, packed: Any, write_jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"]()))
    plain, other = packed("s.json", json.dumps([{"question_id": "abc400_a", "code_list": ["é"]}], ensure_ascii=False))
    assert read_submission(plain, benchmark) == read_submission(other, benchmark)
    judged = {"id": "é", "code": SUM, "tests": [{"input": "1 2", "expected": "3"}]}
    plain.write_text(json.dumps(judged))
    data = json.dumps(judged).encode()
    other.write_bytes(gzip.compress(codecs.BOM_UTF8 + data))
    assert list(read_submissions(plain)) == list(read_submissions(other))


@pytest.mark.parametrize("load", [load_evalplus, load_livecodebench])
def test_a_packed_file_that_was_cut_is_named(load: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(lines(HUMANEVAL).encode())[:-12])
    with pytest.raises(InputError, match=r"b\.jsonl\.gz is gzip, and cannot be unpacked"):
        load(path)


def test_one_name_for_two_problems_is_refused_when_the_file_is_read(rows: Rows, write_jsonl: Any) -> None:
    with pytest.raises(InputError, match=r"row 2: another problem with the question_id of row 1, 'abc400_a'"):
        load_livecodebench(write_jsonl(rows["stdin"](), rows["stdin"](question_content="Another.")))
    with pytest.raises(InputError, match=r"row 2: the same task_id 'HumanEval/7' as an earlier row"):
        load_evalplus(write_jsonl(HUMANEVAL, HUMANEVAL | {"prompt": "def twice(y):\n"}))
    with pytest.raises(InputError, match="row 2: the same problem as an earlier row"):
        load_evalplus(write_jsonl(HUMANEVAL, HUMANEVAL | {"task_id": "HumanEval/8"}))


def test_one_name_for_two_entries_of_a_submission_is_refused(rows: Rows, write_jsonl: Any, tmp_path: Path) -> None:
    benchmark, path = load_livecodebench(write_jsonl(rows["stdin"]())), tmp_path / "s.json"
    path.write_text(json.dumps([{"question_id": "abc400_a", "code_list": [SUM]}] * 2))
    with pytest.raises(InputError, match="two entries with one question_id"):
        read_submission(path, benchmark)


@pytest.mark.parametrize("field", ["task_id", "prompt", "test"])
def test_half_of_a_surrogate_pair_in_a_benchmark_is_named_with_its_field(write_jsonl: Any, field: str) -> None:
    whole = HUMANEVAL | {field: HUMANEVAL[field] + "# 😀"}
    assert load_evalplus(write_jsonl(whole)).problems
    with pytest.raises(InputError, match=f"row 1: field '{field}': half of a surrogate pair is no text"):
        load_evalplus(write_jsonl(HUMANEVAL | {field: HUMANEVAL[field] + "# \ud83d"}))


def test_a_program_with_half_of_a_surrogate_pair_is_wrong_and_the_others_are_judged(
    rows: Rows, write_jsonl: Any, tmp_path: Path
) -> None:
    benchmark, path = load_livecodebench(write_jsonl(rows["stdin"]())), tmp_path / "s.json"
    codes = [SUM, f"{SUM}  # \ud83d", f"{SUM}  # \ud83d\ude00", f"\udc00{SUM}"]
    path.write_text(json.dumps([{"question_id": "abc400_a", "code_list": codes}]))
    settings = EvaluationSettings(samples=4, k=(1,), bootstrap=100)
    measurement = Measurement("s", tmp_path / "r", [benchmark], settings, JudgeSettings(workers=1), 1, prompt="plain")
    result = rejudge(path, measurement)
    assert [row.failure for row in result.verdicts()] == ["none", "syntax", "none", "syntax"]
