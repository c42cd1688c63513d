"""Problems from a local file in LiveCodeBench's format (JSONL or Parquet), every row checked.

Private tests may come as base64(zlib(pickle(JSON text))). Unpickling what a file holds would run what its author
likes, so the unpickler here refuses everything but one string.
"""

import base64
import io
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from xcoder_train.core.errors import InputError
from xcoder_train.core.problem import IoKind, Limits, Origin, Problem, TestCase, problem_id

FIELDS = (
    "question_content",
    "question_id",
    "contest_date",
    "difficulty",
    "platform",
    "starter_code",
    "public_test_cases",
    "private_test_cases",
    "metadata",
)
DIFFICULTIES = ("easy", "medium", "hard")
# The official checker allows six seconds per test and sets no memory limit; 2 GiB is above what honest programs need.
LIMITS = Limits(seconds=6.0, memory_mib=2048)


def load_livecodebench(path: Path) -> Benchmark:
    """Every row of the file as one problem, tests public then private, grouped by difficulty.

    Raises InputError, with file, row (from 1) and field, for anything that is not LiveCodeBench's format.
    """
    found: list[tuple[Problem, tuple[TestCase, ...], datetime]] = []
    row_of: dict[str, int] = {}
    for number, row in _rows(path):
        problem, tests, date = _read_row(row, f"{path}, row {number}")
        if problem.problem_id in row_of:
            first = row_of[problem.problem_id]
            raise InputError(f"{path}, row {number}: the same problem as row {first}; remove one of them")
        row_of[problem.problem_id] = number
        found.append((problem, tests, date))
    if not found:
        raise InputError(f"{path} holds no row; expected one problem per row in LiveCodeBench's format")
    found.sort(key=lambda item: (DIFFICULTIES.index(item[0].difficulty or ""), item[0].source))
    problems = [problem for problem, _, _ in found]
    dates = [date.date().isoformat() for _, _, date in found]
    counts = Counter(problem.difficulty for problem in problems)
    return Benchmark(
        name=path.stem,
        problems=problems,
        tests={problem.problem_id: tests for problem, tests, _ in found},
        group={problem.problem_id: problem.difficulty or "" for problem in problems},
        grouping="difficulty",
        description=(
            f"{len(problems)} problems of {path.name}, contests {min(dates)} to {max(dates)} "
            f"({', '.join(f'{name}: {n}' for name, n in counts.items())}; "
            f"{sum(problem.io == 'function' for problem in problems)} function problems); "
            "not checked against any training data"
        ),
    )


class StringUnpickler(pickle.Unpickler):
    """Loads a pickled string and refuses every other thing that a pickle can name or call."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any, /) -> Any:
        raise pickle.UnpicklingError("it refers to an object outside itself")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a JSONL or Parquet file in LiveCodeBench's format")
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    with open(path, encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _json(line, f"{path}, row {number}", "the line", dict)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: {error}; expected JSONL or a .parquet file") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from error
    number = 0
    with table:
        for batch in table.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _read_row(row: dict[str, Any], where: str) -> tuple[Problem, tuple[TestCase, ...], datetime]:
    for field in FIELDS:
        if field not in row:
            raise InputError(f"{where}: the field {field!r} is missing; LiveCodeBench rows have {', '.join(FIELDS)}")
        if field != "contest_date" and not isinstance(row[field], str):
            raise InputError(f"{where}, field {field!r}: expected text, found {type(row[field]).__name__}")
    if row["difficulty"] not in DIFFICULTIES:
        raise InputError(f"{where}, field 'difficulty': {row['difficulty']!r} is none of {', '.join(DIFFICULTIES)}")
    metadata = _json(row["metadata"], where, "field 'metadata'", dict)
    function_name = metadata.get("func_name")
    if function_name is not None and not (isinstance(function_name, str) and function_name.isidentifier()):
        raise InputError(f"{where}, field 'metadata': func_name must be a Python name, found {function_name!r}")
    io_kind: IoKind = "stdin" if function_name is None else "function"
    starter_code = row["starter_code"] or None
    if io_kind == "function" and starter_code is None:
        raise InputError(f"{where}, field 'starter_code': a function problem needs one, found none")
    if io_kind == "stdin":
        starter_code = None
    identity = problem_id(row["question_content"], io_kind, function_name, starter_code)
    public = _json(row["public_test_cases"], where, "field 'public_test_cases'", list)
    private = _private_tests(row["private_test_cases"], where)
    cases: list[tuple[Any, Origin]] = [*((case, "public") for case in public), *((case, "private") for case in private)]
    tests = tuple(_test(identity, index, case, origin, io_kind, where) for index, (case, origin) in enumerate(cases))
    if not tests:
        raise InputError(f"{where}: there is no public and no private test; expected at least one")
    problem = Problem(
        problem_id=identity,
        statement=row["question_content"],
        style=row["platform"],
        io=io_kind,
        function_name=function_name,
        starter_code=starter_code,
        difficulty=row["difficulty"],
        limits=LIMITS,
        source=f"livecodebench:{row['question_id']}",
    )
    return problem, tests, _date(row["contest_date"], where)


def _test(identity: str, index: int, case: Any, origin: Origin, io_kind: IoKind, where: str) -> TestCase:
    field = f"{where}, field '{origin}_test_cases'"
    if not isinstance(case, dict) or not all(isinstance(case.get(name), str) for name in ("input", "output")):
        raise InputError(
            f"{field}: each test must be an object with the texts 'input' and 'output', found {case!r:.80}"
        )
    if io_kind == "function":
        arguments = case["input"].rstrip("\n")
        for line in [*(arguments.split("\n") if arguments else []), case["output"]]:
            _json(line, where, f"field '{origin}_test_cases' of a function problem", object)
    return TestCase(identity, index, case["input"], case["output"], origin)


def _private_tests(text: str, where: str) -> list[Any]:
    field = "field 'private_test_cases'"
    if text.lstrip().startswith("["):
        return _json(text, where, field, list)
    try:
        decoded = StringUnpickler(io.BytesIO(zlib.decompress(base64.b64decode(text, validate=True)))).load()
    except Exception as error:  # a damaged pickle may raise anything; all of it is this field's fault
        raise InputError(
            f"{where}, {field}: neither a JSON list nor base64(zlib(pickle(text))): {error}. Nothing of it was run."
        ) from error
    if not isinstance(decoded, str):
        raise InputError(f"{where}, {field}: the pickle holds a {type(decoded).__name__}; expected one text")
    return _json(decoded, where, field, list)


def _json(text: str, where: str, what: str, expected: type) -> Any:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}, {what}: not valid JSON ({error})") from error
    if not isinstance(value, expected):
        raise InputError(f"{where}, {what}: expected a JSON {expected.__name__}, found {type(value).__name__}")
    return value


def _date(value: Any, where: str) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}, field 'contest_date': {value!r} is not a date in ISO format") from error
