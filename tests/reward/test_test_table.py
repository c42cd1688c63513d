"""The tests that rollouts are judged on: all of a problem's, or the same few for every rollout."""

import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from reward.checker import LINES, FloatChecker
from reward.test_table import TestTable
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits, Problem, TestCase
from xcoder_core.records import write_records
from xcoder_core.stage import SynthLayout


@pytest.fixture
def layout(tmp_path: Path) -> SynthLayout:
    """Three problems with 1, 12 and 30 tests; the last is a function problem."""
    layout = SynthLayout(tmp_path / "synth")
    layout.folder.mkdir()
    problems = [
        Problem("one", "First", "codeforces", "stdin", limits=Limits(1.5, 256)),
        Problem("twelve", "Second", "codeforces", "stdin", checker='{"kind": "float", "absolute": 0.1, "relative": 0}'),
        Problem("thirty", "Third", "leetcode", "function", "solve", "class Solution: ..."),
    ]
    tests = [
        TestCase(name, index, f"{name} in {index}", f"{name} out {index}")
        for name, count in (("one", 1), ("twelve", 12), ("thirty", 30))
        for index in reversed(range(count))
    ]
    write_records(layout.problems, Problem, problems, ("problem_id",))
    write_records(layout.tests, TestCase, tests, ("problem_id", "index"))
    return layout


def test_a_problem_has_all_its_tests_in_order_with_its_limits(layout: SynthLayout, tmp_path: Path) -> None:
    table = TestTable(layout, tmp_path / "tests.arrow", at_most=None, seed=0)
    twelve = table["twelve"]
    assert twelve.inputs == tuple(f"twelve in {index}" for index in range(12))
    assert twelve.expected == tuple(f"twelve out {index}" for index in range(12))
    assert table["one"].inputs == ("one in 0",)
    assert table["one"].limits == Limits(1.5, 256)
    assert (twelve.function_name, table["thirty"].function_name) == (None, "solve")
    assert (twelve.checker, table["one"].checker) == (FloatChecker(0.1, 0.0), LINES)


def test_the_cap_picks_the_same_tests_every_time_and_others_with_another_seed(
    layout: SynthLayout, tmp_path: Path
) -> None:
    tables = [TestTable(layout, tmp_path / "tests.arrow", at_most=5, seed=seed) for seed in (0, 0, 1, 2, 3)]
    picks = [table["thirty"].inputs for table in tables]
    assert picks[0] == picks[1] == tables[0]["thirty"].inputs
    assert len(set(picks)) == 4
    for table in tables:
        tests = table["thirty"]
        assert len(set(tests.inputs)) == 5
        assert [text.replace("in", "out") for text in tests.inputs] == list(tests.expected)
        assert len(table["one"].inputs) == 1


def test_another_process_reads_the_file_that_the_first_one_made(layout: SynthLayout, tmp_path: Path) -> None:
    cache = tmp_path / "tests.arrow"
    first = TestTable(layout, cache, at_most=None, seed=0)
    made = cache.stat().st_mtime_ns
    second = TestTable(layout, cache, at_most=None, seed=0)
    assert cache.stat().st_mtime_ns == made
    assert first["twelve"] == second["twelve"]


def test_a_problem_of_another_run_is_refused_by_name(layout: SynthLayout, tmp_path: Path) -> None:
    table = TestTable(layout, tmp_path / "tests.arrow", at_most=None, seed=0)
    with pytest.raises(InputError, match="problem elsewhere has no tests"):
        table["elsewhere"]


PROJECT = Path(__file__).parents[2]
LOOK_UP = """
import sys, pyarrow
from pathlib import Path
from reward.test_table import TestTable
from xcoder_core.stage import SynthLayout
table = TestTable(SynthLayout(Path(sys.argv[1])), Path(sys.argv[2]), at_most=5, seed=0)
assert table["one"].inputs == ("one in",)
print(pyarrow.default_memory_pool().max_memory())
"""


def test_looking_a_problem_up_joins_no_chunks(layout: SynthLayout, tmp_path: Path) -> None:
    """A column of 2 GiB of text is several chunks, and joining them fails: their offsets have 32 bits."""
    cases = [TestCase("thirty", index, f"{index} " * 20_000, "out") for index in range(30)]
    write_records(layout.tests, TestCase, [*cases, TestCase("one", 0, "one in", "out")], ("problem_id", "index"))
    read = pyarrow.parquet.read_table(layout.tests, columns=["problem_id", "input", "expected"])
    cache = tmp_path / "tests.arrow"
    with pyarrow.ipc.new_file(cache, read.schema) as writer:
        writer.write_table(read, max_chunksize=4)
    assert TestTable(layout, cache, at_most=None, seed=0)["thirty"].inputs == tuple(case.input for case in cases)
    arguments = [sys.executable, "-c", LOOK_UP, str(layout.folder), str(cache)]
    most = int(subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60, cwd=PROJECT).stdout)
    assert most < read.nbytes / 4
