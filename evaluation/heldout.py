"""The held-out problems of a synthesis run as a benchmark."""

from collections import Counter, defaultdict
from pathlib import Path

from evaluation.benchmark import Benchmark
from xcoder_train.core.errors import InputError
from xcoder_train.core.layout import Membership, SynthLayout
from xcoder_train.core.problem import Problem, TestCase
from xcoder_train.core.records import read_records


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
