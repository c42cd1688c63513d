"""LiveCodeBench's own result files: submissions are read to be judged again, and our results are written in its form.

Two kinds are read: the input of its `custom_evaluator` (a list of lists of programs in the order of question_id, or
objects with `question_id` and `code_list`), and what its runner leaves (`*.json` of generations, `*_eval_all.json`),
whose rows have the same two fields. The three files of its runner are written: generations, `_eval` and `_eval_all`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy

from evaluation.benchmark import Benchmark
from evaluation.judging import SampleVerdict
from evaluation.measurement import Measurement
from evaluation.prompting import extractor
from evaluation.samples import Sample
from evaluation.scores import pass_at_k
from reward.verdict import Verdict
from xcoder_core.errors import InputError
from xcoder_core.files import open_text_bytes, write_text
from xcoder_core.records import read_records

OFFICIAL_K = (1, 5, 10, 20, 40, 50, 75, 100, 125, 150, 200, 500, 1000)
CODES: dict[str, tuple[int, str]] = {Verdict.WA: (-2, "Wrong Answer"), Verdict.TLE: (-3, "Time Limit Exceeded")}
"""The official checker's code and words for a failed test; all others are its runtime error."""
RUNTIME_ERROR = (-4, "Runtime Error")
Row = TypeVar("Row", Sample, SampleVerdict)
HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")


def read_submission(path: Path, benchmark: Benchmark) -> dict[str, list[str]]:
    """The programs of an official file by problem_id, the same number for every problem of the benchmark.

    Raises InputError where the file is not one, or is about other problems. Questions of a larger release that the
    benchmark leaves out are left out here too, where the file names its questions.
    """
    try:
        with open_text_bytes(path) as stream:
            rows = json.loads(stream.read().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} must hold a JSON list with one entry per problem")
    identity = {question["question_id"]: name for name, question in benchmark.questions.items()}
    if not identity:
        raise InputError(f"{benchmark.name} has no LiveCodeBench questions, which {path} is about")
    if all(isinstance(row, list) for row in rows):
        if len(rows) != len(identity):
            raise InputError(
                f"{path} has programs for {len(rows)} problems and names none; {benchmark.name} has {len(identity)}. "
                "Name the benchmark that it was made for."
            )
        programs = dict(zip(sorted(identity), rows, strict=True))
    else:
        programs = dict(_named(path, rows))
        if len(programs) < len(rows):
            raise InputError(f"{path} has two entries with one question_id")
    missing = sorted(identity.keys() - programs.keys())
    if missing:
        raise InputError(f"{path} has no programs for {len(missing)} problems of {benchmark.name}, as {missing[0]!r}")
    chosen = {name: _texts(path, question, programs[question]) for question, name in identity.items()}
    numbers = sorted({len(codes) for codes in chosen.values()})
    if len(numbers) > 1 or not numbers[0]:
        raise InputError(
            f"{path} has from {numbers[0]} to {numbers[-1]} programs per problem; expected the same number, at least 1"
        )
    return chosen


def write_official_files(measurement: Measurement, benchmark: Benchmark) -> None:
    """Leave the runner's three files in `layout.official`.

    A sample without a verdict would count there as wrong: where there is one, a note stands in their place.
    """
    layout, settings = measurement.layout, measurement.settings
    extract = extractor(settings.extraction)
    folder = layout.official / benchmark.name.replace(":", "-")
    verdicts = _by_problem(read_records(layout.verdicts, SampleVerdict), benchmark)
    invalid = sum(row.failure == "invalid" for rows in verdicts.values() for row in rows)
    if invalid:
        note = f"{invalid} samples have no verdict; official files would call them wrong, so none are written\n"
        write_text(folder / "NOT_WRITTEN.txt", note)
        return
    samples = _by_problem(read_records(layout.samples, Sample), benchmark)
    order = sorted(benchmark.questions, key=lambda name: benchmark.questions[name]["question_id"])
    generations = [
        {
            **benchmark.questions[name],
            "output_list": [sample.completion for sample in samples[name]],
            "code_list": [extract(sample.completion) or "" for sample in samples[name]],
        }
        for name in order
    ]
    results = {str(place): [_results(row) for row in verdicts[name]] for place, name in enumerate(order)}
    metadata = [[json.dumps(_metadata(row)) for row in verdicts[name]] for name in order]
    right = [[row.failure == "none" for row in verdicts[name]] for name in order]
    evaluated = [
        {**row, "graded_list": graded, "pass@1": sum(graded) / len(graded), "metadata": details}
        for row, graded, details in zip(generations, right, metadata, strict=True)
    ]
    name = f"Scenario.codegeneration_{settings.samples}_{settings.sampling.temperature:g}"
    for suffix, value in (("", generations), ("_eval", [_metrics(right), results, metadata]), ("_eval_all", evaluated)):
        write_text(folder / f"{name}{suffix}.json", json.dumps(value, indent=4))


def _named(path: Path, rows: Sequence[object]) -> Iterator[tuple[str, object]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or "question_id" not in row or "code_list" not in row:
            raise InputError(
                f"{path}, entry {number}: expected an object with `question_id` and `code_list`, as the official "
                "custom_evaluator reads and the official runner writes them"
            )
        yield str(row["question_id"]), row["code_list"]


def _texts(path: Path, question: str, codes: object) -> list[str]:
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise InputError(f"{path}, question {question!r}: expected a list of programs as texts")
    # No file can hold half of a surrogate pair, and Python takes no program with it: nor one with NUL in its place.
    return [HALF_OF_A_PAIR.sub("\0", code) for code in codes]


def _by_problem(rows: Iterable[Row], benchmark: Benchmark) -> dict[str, list[Row]]:
    ids = benchmark.by_id.keys()
    grouped = groupby((row for row in rows if row.problem_id in ids), key=lambda row: row.problem_id)
    return {name: list(group) for name, group in grouped}


def _results(row: SampleVerdict) -> list[bool | int]:
    """One entry per test that ran: True, and the code of the failure that ended it."""
    passed: list[bool | int] = [True] * row.passed
    return passed if row.failure == "none" else [*passed, CODES.get(row.verdict, RUNTIME_ERROR)[0]]


def _metadata(row: SampleVerdict) -> dict[str, object]:
    code, message = CODES.get(row.verdict, RUNTIME_ERROR)
    details = {"error_code": code, "error_message": message, "verdict": row.verdict}
    return {} if row.failure == "none" else details


def _metrics(right: Sequence[Sequence[bool]]) -> dict[str, object]:
    samples, correct = [len(row) for row in right], [sum(row) for row in right]
    values = {f"pass@{k}": pass_at_k(samples, correct, k) for k in OFFICIAL_K if k <= min(samples)}
    detail = {name: {str(place): float(value) for place, value in enumerate(each)} for name, each in values.items()}
    return {"detail": detail, **{name: float(numpy.mean(each)) for name, each in values.items()}}
