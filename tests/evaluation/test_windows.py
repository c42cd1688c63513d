"""The published windows, read from a release of our own in the official format, hold what they are known to hold."""

import json
import tracemalloc
from collections import Counter
from datetime import datetime
from pathlib import Path

import huggingface_hub.constants
import pytest

from evaluation.benchmark import Benchmark
from evaluation.benchmarks import load_benchmarks
from evaluation.livecodebench import WINDOWS, load_livecodebench
from tests.evaluation.releases import ROWS, problem, write_release
from xcoder_core.errors import InputError


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


def window(name: str, folder: Path | None) -> Benchmark:
    (benchmark,) = load_benchmarks([f"livecodebench:{name}"], None, folder)
    return benchmark


@pytest.fixture(scope="module")
def v5(release: Path) -> Benchmark:
    return window("v5-279", release)


@pytest.mark.parametrize("name", ["v5-279", "v5-268", "v6-131", "v6-175", "v6-454"])
def test_each_window_holds_its_known_count_and_says_release_and_dates(release: Path, name: str) -> None:
    benchmark = window(name, release)
    assert len(benchmark.problems) == WINDOWS[name].problems == int(name.partition("-")[2])
    assert WINDOWS[name].described in benchmark.description and benchmark.name == f"livecodebench:{name}"


def test_v5_spans_its_months_difficulties_platforms_and_kinds(v5: Benchmark) -> None:
    assert len(v5.problems) == 279
    assert sorted(set(v5.breakdowns["month"].values())) == [
        *(f"2024-{month:02d}" for month in range(8, 13)),
        "2025-01",
    ]
    assert set(v5.groups) == {"easy", "medium", "hard"}
    assert Counter(v5.breakdowns["platform"].values()).keys() == {"atcoder", "leetcode", "codeforces"}
    assert {problem.io for problem in v5.problems} == {"stdin", "function"}
    assert all(len(v5.tests[problem.problem_id]) == 6 for problem in v5.problems[:20])
    assert "2024-08-01..2025-02-01" in v5.description


def test_the_same_window_on_the_next_release_is_another_benchmark(release: Path, v5: Benchmark) -> None:
    longer = {problem.source for problem in window("v6-454", release).problems}
    shorter = {problem.source for problem in v5.problems}
    assert shorter < longer and len(longer - shorter) == 175


def test_both_ends_are_inclusive_and_the_last_one_ends_at_midnight() -> None:
    v5 = WINDOWS["v5-279"]
    inside = [datetime(2024, 8, 1), datetime(2025, 2, 1)]
    outside = [datetime(2024, 7, 31, 23, 59), datetime(2025, 2, 1, 0, 1)]
    assert all(map(v5.holds, inside)) and not any(map(v5.holds, outside))


@pytest.mark.parametrize("name", ["v5", "v6", "release_v5", ""])
def test_a_bare_release_is_answered_with_the_list(release: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        window(name, release)
    assert all(f"livecodebench:{known}" in str(error.value) for known in WINDOWS)
    assert "2024-08-01..2025-02-01, 279 problems" in str(error.value)


def test_another_count_than_the_known_one_is_an_error(tmp_path: Path) -> None:
    write_release(tmp_path, (6,))
    path = tmp_path / "test6.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="known to hold 175 problems, and 174 were found"):
        window("v6-175", tmp_path)


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    write_release(tmp_path, (4,))
    with pytest.raises(InputError, match=r"needs test4\.jsonl, test5\.jsonl.*has no test5\.jsonl.*hf download"):
        window("v5-268", tmp_path)


def test_without_a_folder_the_hubs_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "datasets--livecodebench--code_generation_lite"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    write_release(repository / "snapshots" / "abc", (6,))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert len(window("v6-175", None).problems) == 175
    with pytest.raises(InputError, match="the hub's cache has no test4"):
        window("v5-268", None)


def test_files_are_read_as_a_stream_and_tests_again_when_they_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with open(path, "w") as lines:
        for number in range(24):
            row = problem(5 * number, datetime(2025, 3, 1))
            private = [{"input": "7 " * 250_000 + "\n", "output": f"{number}", "testtype": "stdin"}]
            lines.write(json.dumps(row | {"private_test_cases": json.dumps(private)}) + "\n")
    size = path.stat().st_size
    tracemalloc.start()
    benchmark = load_livecodebench(path)
    wanted = [benchmark.tests[problem.problem_id][-1].expected for problem in benchmark.problems]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 12_000_000 and peak < size / 3
    assert sorted(map(str, wanted)) == sorted(map(str, range(24)))


def test_a_file_that_changed_while_in_use_is_refused(tmp_path: Path) -> None:
    path = write_release(tmp_path, (6,)) / "test6.jsonl"
    benchmark = load_livecodebench(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    with pytest.raises(InputError):
        list(map(benchmark.tests.__getitem__, benchmark.by_id))


def test_the_release_of_these_tests_has_the_official_numbers_of_rows(release: Path) -> None:
    found = {n: len((release / ("test.jsonl" if n == 1 else f"test{n}.jsonl")).read_text().splitlines()) for n in ROWS}
    assert found == ROWS and sum(found.values()) == 1055
