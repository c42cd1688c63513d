"""A model's evaluation from prompts to scores, with the real judge on real programs."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmark import Benchmark
from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from evaluation.evaluate import compare, summarise
from evaluation.judging import SampleVerdict, judge_samples
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import Measurement, ResultLayout
from evaluation.results import ModelResult, load_results
from evaluation.samples import Sample
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.models.settings import GenerationSettings
from xcoder_core.problem import Limits, Problem, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.stage import Membership, StageContext, SynthLayout

RIGHT_SUM = "```python\nprint(sum(map(int, input().split())))\n```"
RIGHT_DOUBLE = "```python\nclass Solution:\n    def double(self, x):\n        return 2 * x\n```"
WRONG_SUM = "```python\nprint(0)\n```"


@pytest.fixture
def benchmark(rows: Any, write_jsonl: Callable[..., Path]) -> Benchmark:
    """One problem of each kind, with one second per test: an endless program need not take six."""
    whole = load_livecodebench(write_jsonl(rows["stdin"](), rows["function"]()))
    problems = [replace(problem, limits=Limits(seconds=1.0)) for problem in whole.problems]
    return replace(whole, problems=problems)


Evaluate = Callable[..., ModelResult]


@pytest.fixture
def evaluate(
    benchmark: Benchmark, settings: EvaluationSettings, judge_settings: JudgeSettings, tmp_path: Path
) -> Evaluate:
    def run(generator: Any, label: str = "base", folder: str | None = None, **changed: Any) -> ModelResult:
        asked = settings.model_copy(update=changed)
        path = tmp_path / (folder or label)
        return evaluate_model(asked, judge_settings, [benchmark], label, generator, path, 7, "livecodebench")

    return run


def test_the_dtype_of_sampling_is_recorded_and_a_result_is_of_one(replay: Any, evaluate: Evaluate) -> None:
    answers = {"sum of the integers": [RIGHT_SUM] * 4, "twice x": [RIGHT_DOUBLE] * 4}
    first = GenerationSettings().on(has_gpu=False)
    assert evaluate(replay(answers), generation=first).scores["dtype"] == "float32"
    with pytest.raises(InputError, match="dtype = 'float32', now asked for 'bfloat16'"):
        evaluate(replay(answers), generation=GenerationSettings().on(has_gpu=True))


def test_every_failure_has_its_name(replay: Any, evaluate: Evaluate) -> None:
    answers = {
        "sum of the integers": [RIGHT_SUM, WRONG_SUM, "I do not know.", "```python\nprint(\n```"],
        "twice x": [
            RIGHT_DOUBLE,
            "```python\nraise SystemExit(3)\n```",
            "```python\nclass Solution:\n    def double(self, x):\n        while True: pass\n```",
            "<think>let me cut off",
        ],
    }
    result = evaluate(replay(answers, cut_off="cut off"))
    named = {(v.problem_id, v.sample_index): (v.verdict, v.failure) for v in result.verdicts()}
    sum_id, double_id = sorted(
        {c.problem_id for c in result.counts}, key=lambda i: named[i, 2] != ("no code", "no_code")
    )
    assert [named[sum_id, i] for i in range(4)] == [
        ("AC", "none"),
        ("WA", "wrong_answer"),
        ("no code", "no_code"),
        ("CE", "syntax"),
    ]
    assert [named[double_id, i] for i in range(4)] == [
        ("AC", "none"),
        ("RE", "runtime"),
        ("TLE", "time"),
        ("no code", "truncated"),
    ]
    scores = result.scores["benchmarks"]["bench"]
    assert scores["pass_at_1"]["mean"] == 0.25 and scores["pass_at_4"]["mean"] == 1.0
    assert scores["pass_at_1"]["by_difficulty"]["hard"]["samples"] == 4
    assert scores["truncated"] == 1 and scores["failures"]["truncated"] == 1


def test_a_right_program_that_touches_the_token_limit_still_counts(replay: Any, evaluate: Evaluate) -> None:
    result = evaluate(replay({"sum": [RIGHT_SUM] * 4, "twice": [RIGHT_DOUBLE] * 4}, cut_off="print"))
    assert result.scores["benchmarks"]["bench"]["pass_at_1"]["mean"] == 1.0
    assert result.scores["benchmarks"]["bench"]["truncated"] == 4


def test_a_run_that_broke_off_leaves_the_same_bytes_and_asks_nothing_twice(
    replay: Any, evaluate: Evaluate, tmp_path: Path
) -> None:
    answers = {"sum": [RIGHT_SUM, WRONG_SUM, WRONG_SUM, "none"], "twice": [RIGHT_DOUBLE, "none", RIGHT_DOUBLE, "none"]}
    whole = replay(answers)
    evaluate(whole, folder="whole")
    first, second = replay(answers, stop_after=3), replay(answers)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, folder="resumed")
    evaluate(second, folder="resumed")
    assert sorted(first.asked + second.asked) == sorted(whole.asked)
    for name in ("samples.parquet", "verdicts.parquet", "counts.parquet", "problems.parquet", "scores.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()
    third = replay({})
    evaluate(third, folder="resumed")
    assert third.asked == []


@pytest.fixture
def again_judged(
    settings: EvaluationSettings, judge_settings: JudgeSettings, tmp_path: Path
) -> Callable[..., Measurement]:
    """A measurement with the samples of `base`, which are judged in a folder of their own."""

    def copied(benchmark: Benchmark, folder: Path = tmp_path / "again") -> Measurement:
        again = Measurement("base", folder, [benchmark], settings, judge_settings, 7, "livecodebench")
        again.folder.mkdir(exist_ok=True)
        shutil.copy(ResultLayout(tmp_path / "base").samples, again.layout.samples)
        return again

    return copied


def test_a_problem_with_a_checker_of_its_own_is_judged_by_it(
    replay: Any, evaluate: Evaluate, again_judged: Callable[..., Measurement], benchmark: Benchmark, tmp_path: Path
) -> None:
    near = "```python\nprint(sum(map(int, input().split())) + 0.001)\n```"
    evaluate(replay({"sum": [near] * 4, "twice": [RIGHT_DOUBLE] * 4}))
    tolerance = '{"kind": "float", "absolute": 0.01, "relative": 0}'
    verdicts = {}
    for checker in ("lines", tolerance):
        problems = [replace(p, checker=checker if p.io == "stdin" else "lines") for p in benchmark.problems]
        again = again_judged(replace(benchmark, problems=problems), tmp_path / f"{len(verdicts)}")
        judge_samples(again, "faithful")
        verdicts[checker] = sorted(row.verdict for row in read_records(again.layout.verdicts, SampleVerdict))
    assert verdicts == {"lines": ["AC"] * 4 + ["WA"] * 4, tolerance: ["AC"] * 8}


def test_judging_that_broke_off_goes_on_with_the_verdicts_it_has(
    replay: Any, evaluate: Evaluate, again_judged: Callable[..., Measurement], benchmark: Benchmark, tmp_path: Path
) -> None:
    answers = {"sum": [RIGHT_SUM, WRONG_SUM, RIGHT_SUM, WRONG_SUM], "twice": [RIGHT_DOUBLE, "none"] * 2}
    evaluate(replay(answers))
    layout = ResultLayout(tmp_path / "base")
    judged = list(read_records(layout.verdicts, SampleVerdict))
    with pytest.raises(KeyboardInterrupt):
        judge_samples(again_judged(replace(benchmark, tests=Breaking(benchmark.tests, after=1))), "faithful")
    again = again_judged(benchmark)
    judge_samples(again, "faithful")
    assert list(read_records(again.layout.verdicts, SampleVerdict)) == judged
    assert again.layout.verdicts.read_bytes() == layout.verdicts.read_bytes()


class Breaking(dict[str, tuple[TestCase, ...]]):
    """Tests whose reading breaks off, as a killed process would."""

    def __init__(self, tests: Any, after: int) -> None:
        super().__init__(tests)
        self.after = after

    def __getitem__(self, name: str) -> tuple[TestCase, ...]:
        if self.after == 0:
            raise KeyboardInterrupt
        self.after -= 1
        return super().__getitem__(name)


def test_models_that_are_compared_meet_the_same_seeds(replay: Any, evaluate: Evaluate) -> None:
    answers = {"sum": [RIGHT_SUM] * 4, "twice": [RIGHT_DOUBLE] * 4}
    base, sft = replay(answers), replay(answers)
    evaluate(base, "base")
    evaluate(sft, "sft")
    assert base.seeds == sft.seeds and len(set(base.seeds)) == 8


def test_a_folder_begun_for_something_else_is_refused(replay: Any, evaluate: Evaluate) -> None:
    answers = {"sum": [RIGHT_SUM] * 4, "twice": [RIGHT_DOUBLE] * 4}
    evaluate(replay(answers))
    with pytest.raises(InputError, match="begun with samples = 4, now asked for 3"):
        evaluate(replay(answers), samples=3, k=(1,))


def test_a_generator_that_leaves_requests_unanswered_is_a_fault_not_a_score(replay: Any, evaluate: Evaluate) -> None:
    class Silent:
        def generate(self, requests: Any, sampling: Any) -> Iterator[Any]:
            return iter(())

    with pytest.raises(InfrastructureError, match="left 8 requests without an answer"):
        evaluate(Silent())


def test_comparison_is_paired_and_the_summary_has_the_documented_shape(
    replay: Any, evaluate: Evaluate, tmp_path: Path
) -> None:
    evaluate(replay({"sum": [WRONG_SUM] * 4, "twice": ["none"] * 4}), "base")
    evaluate(replay({"sum": [RIGHT_SUM] * 4, "twice": ["none"] * 4}), "sft")
    evaluate(replay({"sum": [RIGHT_SUM] * 4, "twice": [RIGHT_DOUBLE] + ["none"] * 3}), "rl")
    stage = StageContext("run", "evaluation", "key", tmp_path, 7, {})
    stage.finish(models={"base": "base", "sft": "sft", "rl": "rl"})
    results = load_results(tmp_path)
    assert list(results) == ["base", "sft", "rl"]
    summary = summarise(results)
    assert {label: score["mean"] for label, score in summary["pass_at_1"].items()} == {
        "base": 0,
        "sft": 0.5,
        "rl": 0.625,
    }
    assert summary["pass_at_4"]["rl"]["mean"] == 1.0
    easy = summary["pass_at_1"]["sft"]["by_difficulty"]["easy"]
    assert (easy["mean"], easy["problems"], easy["samples"], len(easy["ci95"])) == (1.0, 1, 4, 2)
    json.dumps(summary, allow_nan=False)
    differences = compare(results)
    assert list(differences) == ["sft - base", "rl - sft"]
    assert differences["sft - base"]["bench"]["pass_at_1"]["difference"] == 0.5
    assert differences["rl - sft"]["bench"]["pass_at_4"]["by_difficulty"]["hard"]["difference"] == 1.0


def test_heldout_problems_are_those_kept_for_evaluation_by_split(tmp_path: Path) -> None:
    layout = SynthLayout(tmp_path)
    problems = [Problem(f"{n:016x}", f"task {n}", "codeforces", "stdin") for n in range(4)]
    uses = [("train", "sft", 1), ("depth_3", "evaluation", 3), ("depth_1_2", "evaluation", 2), ("rl", "rl", 1)]
    members = [Membership(p.problem_id, *use) for p, use in zip(problems, uses, strict=True)]
    cases = [TestCase(p.problem_id, i, f"{i}", f"{i}") for p in problems for i in range(2)]
    write_records(layout.problems, Problem, problems, ("problem_id",))
    write_records(layout.memberships, Membership, members, ("problem_id",))
    write_records(layout.tests, TestCase, cases, ("problem_id", "index"))
    (heldout,) = load_benchmarks(["heldout"], tmp_path)
    assert [problem.statement for problem in heldout.problems] == ["task 2", "task 1"]
    assert heldout.groups == ["depth_1_2", "depth_3"]
    assert all(len(heldout.tests[problem.problem_id]) == 2 for problem in heldout.problems)
    assert set(heldout.tests) == {problem.problem_id for problem in heldout.problems}


def test_a_problem_without_labelled_tests_is_refused() -> None:
    problem = Problem("0" * 16, "task", "codeforces", "stdin")
    for tests in ((), (TestCase("0" * 16, 0, "1", None),)):
        with pytest.raises(InputError, match="no tests or a test without"):
            Benchmark("b", [problem], {problem.problem_id: tests}, {problem.problem_id: "g"}, "depth", "")


def test_what_cannot_be_scored_is_refused_before_anything_is_sampled(
    replay: Any, evaluate: Evaluate, benchmark: Benchmark, settings: EvaluationSettings, tmp_path: Path
) -> None:
    generator = replay({})
    with pytest.raises(InputError, match="pass@4 needs at least as many samples per problem, found 3"):
        evaluate(generator, samples=3)
    for second, said in (
        (benchmark, "same name"),
        (replace(benchmark, name="copy"), "in the benchmarks bench and copy"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate_model(settings, JudgeSettings(), [benchmark, second], "x", generator, tmp_path / "x", 7, "plain")
    assert generator.asked == [] and not (tmp_path / "x").exists()


def test_samples_hold_what_was_generated(replay: Any, evaluate: Evaluate) -> None:
    result = evaluate(replay({"sum": [RIGHT_SUM] * 4, "twice": [RIGHT_DOUBLE] * 4}))
    samples: list[Sample] = list(read_records(result.layout.samples, Sample))
    assert len(samples) == 8 and {sample.completion for sample in samples} == {RIGHT_SUM, RIGHT_DOUBLE}
    assert sum(s.completion_tokens for s in samples) == result.scores["benchmarks"]["bench"]["completion_tokens"]
