"""The benchmarks that a recipe may name: where each lies, and its problems."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.benchmark import Benchmark
from evaluation.evalplus import load_evalplus
from evaluation.livecodebench import find_window, load_livecodebench, load_window, window_files
from xcoder_core.errors import InputError
from xcoder_core.files import unpacked_stem
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records
from xcoder_core.stage import Membership, SynthLayout


@dataclass(frozen=True)
class Form:
    """One form of a benchmark's name, KIND or KIND:ARGUMENT. What keys and checks need of it follows from these fields.

    `load` gets the argument, the benchmark's files, and the folder of the synthesis.
    """

    written: str
    """How a recipe writes it, for messages."""
    load: Callable[[str, list[Path], Path | None], Benchmark]
    files: Callable[[str, Path | None], list[Path]] | None = None
    """The files of an argument, given `evaluation.livecodebench_folder`; when left out, the argument is one path."""
    key: tuple[str, ...] | None = None
    """What stands in keys before the identity of the one file; its kind when left out."""


FORMS = {
    "heldout": Form("`heldout`", lambda _, files, synth: load_heldout(synth), files=lambda name, folder: []),
    "livecodebench": Form(
        "`livecodebench:NAME`",
        lambda name, files, synth: load_window(name, files),
        files=lambda name, folder: window_files(find_window(name), folder),
    ),
    "file": Form("`file:PATH` (LiveCodeBench's format)", lambda _, files, synth: load_livecodebench(files[0]), key=()),
    "evalplus": Form(
        "`evalplus:PATH`", lambda _, files, synth: load_evalplus(files[0]), key=("evalplus", "in two processes")
    ),
}
"""The forms that there are. A new one is a loader and a row here."""


def benchmark_files(name: str, livecodebench_folder: Path | None) -> list[Path]:
    """Where a benchmark lies; nowhere for `heldout`, whose problems are those of the synthesis.

    Raises InputError for a name that means no benchmark, and where a file is missing.
    """
    kind, colon, argument = name.partition(":")
    form = FORMS.get(kind)
    if form is None or (colon and ":" not in form.written) or (form.files is None and not argument):
        raise InputError(f"{name!r} is no benchmark; expected {_written()}")
    if form.files is not None:
        return form.files(argument, livecodebench_folder)
    if not Path(argument).is_file():
        raise InputError(f"there is no such file: {argument}")
    return [Path(argument)]


def benchmark_name(name: str) -> str:
    """What a benchmark is called in scores: a file's by the file, others as the recipe calls them."""
    kind, _, argument = name.partition(":")
    is_file = kind in FORMS and FORMS[kind].files is None
    return unpacked_stem(Path(argument)) if is_file else name


def benchmark_identity(name: str, file_identities: Sequence[Sequence[object]]) -> list[object]:
    """What of a benchmark with files belongs to keys, given what tells each file from others."""
    kind = name.partition(":")[0]
    form = FORMS[kind]
    if form.files is not None:
        return [name, *file_identities]
    return [*((kind,) if form.key is None else form.key), *file_identities[0]]


def load_benchmarks(
    names: Sequence[str], synth_folder: Path | None, livecodebench_folder: Path | None = None
) -> list[Benchmark]:
    """The benchmarks that `evaluation.benchmarks` names. Raises InputError for a name that means none."""
    benchmarks = []
    for name in names:
        files = benchmark_files(name, livecodebench_folder)
        kind, _, argument = name.partition(":")
        benchmarks.append(FORMS[kind].load(argument, files, synth_folder))
    return benchmarks


def load_heldout(synth_folder: Path | None) -> Benchmark:
    """Every problem that a finished synthesis keeps for evaluation, grouped by split."""
    if synth_folder is None:
        raise InputError("the benchmark `heldout` needs a finished synthesis; add `synth:` or `inputs: synth`")
    layout = SynthLayout(synth_folder)
    split_of = {
        member.problem_id: member.split
        for member in read_records(layout.memberships, Membership)
        if member.use == "evaluation"
    }
    if not split_of:
        raise InputError(f"{layout.memberships} has no problem for evaluation: add such a split to synth.splits")
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
    if not benchmarks:
        raise InputError(f"evaluation.benchmarks is empty; expected {_written()}")
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise InputError(f"two benchmarks have the same name among {', '.join(names)}; rename a file")
    problems: dict[str, Problem] = {}
    for benchmark in benchmarks:
        for name in sorted(benchmark.by_id.keys() & problems.keys()):
            first = next(other.name for other in benchmarks if name in other.by_id)
            raise InputError(
                f"problem {name} ({problems[name].source}) is in the benchmarks {first} and {benchmark.name}; drop one"
            )
        problems |= benchmark.by_id
    return problems


def _written() -> str:
    return ", ".join(form.written for form in FORMS.values())
