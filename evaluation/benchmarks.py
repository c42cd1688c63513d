"""The benchmarks that a recipe may name: where each lies, and its problems."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from evaluation.benchmark import Benchmark
from evaluation.evalplus import load_evalplus
from evaluation.livecodebench import load_livecodebench, load_window
from evaluation.windows import find_window, window_files
from xcoder_core.errors import InputError
from xcoder_core.layout import Membership, SynthLayout
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records

FORMS = "`heldout`, `livecodebench:NAME`, `file:PATH` (LiveCodeBench's format), `evalplus:PATH`"
LOADERS = {"file": load_livecodebench, "evalplus": load_evalplus}
"""By the form of a name that ends with a file: what reads it."""


def benchmark_files(name: str, livecodebench_folder: Path | None) -> list[Path]:
    """Where a benchmark lies; nowhere for `heldout`, whose problems are those of the synthesis.

    Raises InputError for a name that means no benchmark, and where a file is missing.
    """
    kind, _, rest = name.partition(":")
    if name == "heldout":
        return []
    if kind == "livecodebench":
        return window_files(find_window(rest), livecodebench_folder)
    if kind not in LOADERS or not rest:
        raise InputError(f"{name!r} is no benchmark; expected {FORMS}")
    if not Path(rest).is_file():
        raise InputError(f"there is no such file: {rest}")
    return [Path(rest)]


def load_benchmarks(
    names: Sequence[str], synth_folder: Path | None, livecodebench_folder: Path | None = None
) -> list[Benchmark]:
    """The benchmarks that `evaluation.benchmarks` names. Raises InputError for a name that means none."""
    benchmarks = []
    for name in names:
        kind, _, rest = name.partition(":")
        if kind == "livecodebench":
            benchmarks.append(load_window(rest, livecodebench_folder))
        elif name != "heldout":
            (file,) = benchmark_files(name, livecodebench_folder)
            benchmarks.append(LOADERS[kind](file))
        elif synth_folder is None:
            raise InputError("the benchmark `heldout` needs a finished synthesis; add `synth:` or `inputs: synth`")
        else:
            benchmarks.append(load_heldout(synth_folder))
    return benchmarks


def load_heldout(synth_folder: Path) -> Benchmark:
    """Every problem that a finished synthesis keeps for evaluation, grouped by split."""
    layout = SynthLayout(synth_folder)
    split_of = {
        member.problem_id: member.split
        for member in read_records(layout.memberships, Membership)
        if member.use == "evaluation"
    }
    if not split_of:
        raise InputError(
            f"{layout.memberships} names no problem for evaluation; "
            "add a split with `use: evaluation` to `synth.splits`"
        )
    problems = [problem for problem in read_records(layout.problems, Problem) if problem.problem_id in split_of]
    if len(problems) < len(split_of):
        raise InputError(f"{layout.problems} lacks {len(split_of) - len(problems)} of the problems held for evaluation")
    tests: defaultdict[str, list[TestCase]] = defaultdict(list)
    for test in read_records(layout.tests, TestCase):
        if test.problem_id in split_of:
            tests[test.problem_id].append(test)
    problems.sort(key=lambda problem: (split_of[problem.problem_id], problem.problem_id))
    counts = Counter(split_of[problem.problem_id] for problem in problems)
    return Benchmark(
        name="heldout",
        problems=problems,
        tests={name: tuple(cases) for name, cases in tests.items()},
        group=split_of,
        grouping="depth",
        description=f"{len(problems)} held-out problems ({', '.join(f'{split}: {n}' for split, n in counts.items())})",
    )


def all_problems(benchmarks: Sequence[Benchmark]) -> dict[str, Problem]:
    """The problems of all benchmarks by problem_id; what two of them share would be counted twice."""
    home: dict[str, str] = {}
    problems: dict[str, Problem] = {}
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise InputError(f"two benchmarks have the same name among {', '.join(names)}; rename a file")
    for benchmark in benchmarks:
        for problem in benchmark.problems:
            if problem.problem_id in home:
                raise InputError(
                    f"problem {problem.problem_id} ({problem.source}) is in the benchmarks {home[problem.problem_id]} "
                    f"and {benchmark.name}; evaluate them in separate runs, or leave one out"
                )
            home[problem.problem_id] = benchmark.name
            problems[problem.problem_id] = problem
    if not problems:
        raise InputError(f"evaluation.benchmarks is empty; expected {FORMS}")
    return problems
