"""Problems in LiveCodeBench's format (JSONL or Parquet): a local file, or a published window of the releases.

Files are streamed, and the tests stay in them until a problem is judged (`FileTests`).

Private tests may come as base64(zlib(pickle(JSON text))). Unpickling what a file holds would run what its author
likes, so nothing is unpickled: the one text is read out of the pickle, and any other pickle is refused.

A release is the first files of the data set (`release_v5` is files 1 to 5), a window the problems of some files whose
contest lies between two dates: the official filter, both ends inclusive, the last one at midnight. "v5" and "v6" mean
different problems in different papers, so neither names a window. A count that differs means another version of the
files, whose scores could not be compared.
"""

import base64
import hashlib
import io
import json
import pickletools
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from evaluation.benchmark import Benchmark
from xcoder_core.errors import InputError
from xcoder_core.files import unpacked_stem
from xcoder_core.problem import IoKind, Limits, Origin, Problem, TestCase, problem_id
from xcoder_core.rows import RowPlace, read_row, sound_rows

REPOSITORY = "livecodebench/code_generation_lite"
FILES = {1: "test.jsonl", **{number: f"test{number}.jsonl" for number in range(2, 7)}}
FIELDS = (
    "question_content question_id contest_date difficulty platform starter_code public_test_cases private_test_cases "
    "metadata"
).split()
QUESTION_FIELDS = (
    "question_title question_content platform question_id contest_id contest_date starter_code difficulty"
).split()
"""What official result files repeat of each problem, in their order."""
DIFFICULTIES = ("easy", "medium", "hard")
# The official checker allows six seconds per test and sets no memory limit; 2 GiB is above what honest programs need.
LIMITS = Limits(seconds=6.0, memory_mib=2048)

Value = TypeVar("Value")
MOST_BYTES = 1 << 30
"""Of one problem's private tests once they are inflated."""
TEXT = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
AROUND_A_TEXT = ("PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP")
"""What a pickle of one text is made of, in every protocol."""


@dataclass(frozen=True, slots=True)
class Window:
    """`files` are the data set's increments, `problems` the known count. Without dates all problems are in it."""

    name: str
    release: str
    files: tuple[int, ...]
    first: datetime | None
    last: datetime | None
    problems: int

    @property
    def described(self) -> str:
        """The release and the dates, as they stand beside a score."""
        dates = "all dates" if self.first is None else f"{self.first:%Y-%m-%d}..{self.last:%Y-%m-%d}"
        return f"{self.release}, {dates}, {self.problems} problems"

    def holds(self, moment: datetime) -> bool:
        """Whether a contest that began then is in the window."""
        return (self.first is None or self.first <= moment) and (self.last is None or moment <= self.last)


_AUGUST, _FEBRUARY, _MAY = datetime(2024, 8, 1), datetime(2025, 2, 1), datetime(2025, 5, 1)
WINDOWS = {
    window.name: window
    for window in (
        Window("v5-279", "release_v5", (1, 2, 3, 4, 5), _AUGUST, _FEBRUARY, 279),
        Window("v5-268", "v4_v5", (4, 5), None, None, 268),
        Window("v6-131", "release_v6", (1, 2, 3, 4, 5, 6), _FEBRUARY, _MAY, 131),
        Window("v6-175", "v6", (6,), None, None, 175),
        Window("v6-454", "release_v6", (1, 2, 3, 4, 5, 6), _AUGUST, _MAY, 454),
    )
}


def find_window(name: str) -> Window:
    """The window of this exact name. Raises InputError with the list of all for any other, "v5" and "v6" among them."""
    if name not in WINDOWS:
        known = "\n".join(f"  livecodebench:{window.name}  ({window.described})" for window in WINDOWS.values())
        raise InputError(
            f"livecodebench:{name} is not the name of one window; papers mean different problems by it. "
            f"Give one of these:\n{known}"
        )
    return WINDOWS[name]


def window_files(window: Window, folder: Path | None) -> list[Path]:
    """The window's files in `folder`, or in the cache of the Hugging Face hub where no folder is given.

    Nothing is downloaded. Raises InputError where one is missing.
    """
    paths: list[Path] = []
    for number in window.files:
        path = _cached(FILES[number]) if folder is None else folder / FILES[number]
        if path is None or not path.is_file():
            where = "the hub's cache" if folder is None else str(folder)
            needed = ", ".join(FILES[n] for n in window.files)
            raise InputError(
                f"livecodebench:{window.name} needs {needed} of {REPOSITORY}, and {where} has no {FILES[number]}. "
                f"Get them with `hf download {REPOSITORY} --repo-type dataset --local-dir FOLDER` and set "
                "evaluation.livecodebench_folder=FOLDER"
            )
        paths.append(path)
    return paths


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(REPOSITORY, name, repo_type="dataset")
    return Path(found) if isinstance(found, str) else None


def load_livecodebench(path: Path) -> Benchmark:
    """Every row of one file as a problem, tests public then private, grouped by difficulty.

    Raises InputError, with file, row (from 1) and field, for anything that is not LiveCodeBench's format.
    """
    return _benchmark(unpacked_stem(path), [path], None, f"all of {path.name}")


def load_window(name: str, paths: Sequence[Path]) -> Benchmark:
    """The problems of a published window (`WINDOWS`), from its files.

    Raises InputError for an unknown name, or a count other than the known one.
    """
    window = find_window(name)
    benchmark = _benchmark(f"livecodebench:{name}", paths, window, window.described)
    if len(benchmark.problems) != window.problems:
        raise InputError(
            f"livecodebench:{name} is known to hold {window.problems} problems, and {len(benchmark.problems)} were "
            f"found in {', '.join(map(str, paths))}: another version of the files, whose scores could not be compared "
            "with published ones. Get the files again, or name them as file:PATH."
        )
    return benchmark


class FileTests(Mapping[str, tuple[TestCase, ...]]):
    """The tests of each problem, read from its row whenever they are asked for; only the last ones are kept."""

    def __init__(self, places: Mapping[str, RowPlace]) -> None:
        self._places = places
        self._last: tuple[str, tuple[TestCase, ...]] | None = None

    def __getitem__(self, problem_id: str) -> tuple[TestCase, ...]:
        if self._last is None or self._last[0] != problem_id:
            place = self._places[problem_id]
            problem, tests, _ = _read_row(read_row(place), str(place))
            if problem.problem_id != problem_id:
                raise InputError(f"{place} is another problem than before: the file was changed while it was in use")
            self._last = problem_id, tests
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _benchmark(name: str, paths: Sequence[Path], window: Window | None, described: str) -> Benchmark:
    found: list[tuple[Problem, datetime]] = []
    places: dict[str, RowPlace] = {}
    digests: dict[str, str] = {}
    questions: dict[str, Mapping[str, str]] = {}
    named: dict[str, RowPlace] = {}
    for path in paths:
        for place, row in sound_rows(path, "a JSONL or Parquet file in LiveCodeBench's format", strict=False):
            if window is not None and not window.holds(_date(row.get("contest_date"), str(place))):
                continue
            problem, tests, date = _read_row(row, str(place))
            identity, question = problem.problem_id, row["question_id"]
            first = places.get(identity) or named.get(question)
            if first is not None:
                same = f"row {first.number}" if first.path == path else str(first)
                raise InputError(
                    f"{place}: the same problem as {same}; remove one of them"
                    if identity in places
                    else f"{place}: another problem with the question_id of {same}, {question!r}, by which submissions "
                    "name a problem; give one of them another"
                )
            named[question] = places[identity] = place
            digests[identity] = _digest(tests)
            questions[identity] = {field: _shown(row.get(field)) for field in QUESTION_FIELDS}
            found.append((problem, date))
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} holds no row that is asked for; expected one problem per row")
    found.sort(key=lambda item: (DIFFICULTIES.index(item[0].difficulty or ""), item[0].source))
    problems = [problem for problem, _ in found]
    dates = [date.date().isoformat() for _, date in found]
    counts = Counter(problem.difficulty for problem in problems)
    return Benchmark(
        name=name,
        problems=problems,
        tests=FileTests(places),
        group={problem.problem_id: problem.difficulty or "" for problem in problems},
        grouping="difficulty",
        description=(
            f"{name}: {len(problems)} problems ({described}), contests {min(dates)} to {max(dates)} "
            f"({', '.join(f'{difficulty}: {n}' for difficulty, n in counts.items())}; "
            f"{sum(problem.io == 'function' for problem in problems)} function problems)"
        ),
        breakdowns={
            "platform": {problem.problem_id: problem.style for problem in problems},
            "month": {problem.problem_id: f"{date:%Y-%m}" for problem, date in found},
        },
        test_digests=digests,
        questions=questions,
        files=tuple(dict.fromkeys(place.path for place in places.values())),
        days=(min(dates), max(dates)),
    )


def _digest(tests: Sequence[TestCase]) -> str:
    digest = hashlib.sha256()
    for case in tests:
        digest.update(repr((case.input, case.expected)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value or "")


def _read_row(row: dict[str, Any], where: str) -> tuple[Problem, tuple[TestCase, ...], datetime]:
    for field in FIELDS:
        if field not in row:
            raise InputError(f"{where}: the field {field!r} is missing; LiveCodeBench rows have {', '.join(FIELDS)}")
        if field != "contest_date" and not isinstance(row[field], str):
            raise InputError(f"{where}, field {field!r}: expected text, found {type(row[field]).__name__}")
    if row["difficulty"] not in DIFFICULTIES:
        raise InputError(f"{where}, field 'difficulty': {row['difficulty']!r} is none of {', '.join(DIFFICULTIES)}")
    function_name = _json(row["metadata"], f"{where}, field 'metadata'", dict).get("func_name")
    if function_name is not None and not (isinstance(function_name, str) and function_name.isidentifier()):
        raise InputError(f"{where}, field 'metadata': func_name must be a Python name, found {function_name!r}")
    io_kind: IoKind = "stdin" if function_name is None else "function"
    starter_code = (row["starter_code"] or None) if io_kind == "function" else None
    if io_kind == "function" and starter_code is None:
        raise InputError(f"{where}, field 'starter_code': a function problem needs one, found none")
    identity = problem_id(row["question_content"], io_kind, function_name, starter_code)
    given: dict[Origin, list[object]] = {
        "public": _json(row["public_test_cases"], f"{where}, field 'public_test_cases'", list),
        "private": _private_tests(row["private_test_cases"], f"{where}, field 'private_test_cases'"),
    }
    cases = [(case, origin) for origin, listed in given.items() for case in listed]
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


def _test(identity: str, index: int, case: object, origin: Origin, io_kind: IoKind, where: str) -> TestCase:
    field = f"{where}, field '{origin}_test_cases'"
    if not isinstance(case, dict) or not all(isinstance(case.get(name), str) for name in ("input", "output")):
        raise InputError(f"{field}: a test must be an object with the texts 'input' and 'output', found {case!r:.80}")
    if io_kind == "function":
        arguments = case["input"].rstrip("\n")
        for line in [*(arguments.split("\n") if arguments else []), case["output"]]:
            _json(line, f"{field} of a function problem", object)
    return TestCase(identity, index, case["input"], case["output"], origin)


def _private_tests(text: str, where: str) -> list[object]:
    if text.lstrip().startswith("["):
        return _json(text, where, list)
    try:
        decoded = _pickled_text(_decompressed(base64.b64decode(text, validate=True)))
    except Exception as error:  # a damaged pickle may raise anything; all of it is this field's fault
        raise InputError(
            f"{where}: neither a JSON list nor base64(zlib(pickle(text))): {error}. Nothing of it was run."
        ) from error
    return _json(decoded, where, list)


def _decompressed(content: bytes) -> bytes:
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(content, MOST_BYTES)
    if not inflater.eof:
        raise ValueError(f"it is cut short, or inflates to more than {MOST_BYTES >> 20} MiB")
    return inflated


def _pickled_text(pickled: bytes) -> str:
    """The text that a pickle consists of. The pickle is taken apart, never carried out: a hostile one could call
    functions, or have memory reserved by a few bytes."""
    texts = []
    for operation, argument, _ in pickletools.genops(io.BytesIO(pickled)):
        if operation.name in TEXT:
            texts.append(argument)
        elif operation.name not in AROUND_A_TEXT:
            raise ValueError(f"the pickle holds {operation.name}; expected one text")
    [text] = texts
    return str(text)


def _json(text: str, where: str, expected: type[Value]) -> Value:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise InputError(f"{where}: not valid JSON ({error})") from error
    if not isinstance(value, expected):
        raise InputError(f"{where}: expected a JSON {expected.__name__}, found {type(value).__name__}")
    return value


def _date(value: object, where: str) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError as error:
        raise InputError(f"{where}, field 'contest_date': {value!r} is not a date in ISO format") from error
