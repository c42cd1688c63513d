"""The promises of the judge: verdicts, order, early stop, deadlines."""

import asyncio
import itertools
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward.config import JudgeSettings
from reward.executor import FINISHED_PER_WORKER
from reward.extract import extract_code
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Verdict
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits

ROOT = Path(__file__).parents[2]
CASES = [json.loads(line) for line in (Path(__file__).parent / "livecodebench_verdicts.jsonl").open()]
LEFT_OUT = {
    "fork": "making a process is refused here; plain Python allows it",
    "num_inf": "'Infinity' and 'inf' are equal as Decimals; here numerals are plain ASCII digits",
    "num_underscore": "'1_000' is a Decimal; here it is text",
    "stdin_empty_tests": "a submission without tests is an InputError here",
    "ex_backticks_mention": "the corpus records the official extraction",
    "ex_indented_fence": "the corpus records the official extraction",
    "ex_tilde": "the corpus records the official extraction",
    "ex_think_only": "the corpus records the official extraction; a thought cut short is no answer here",
}
SECONDS_NEEDED = {"slow_ok_5s": 8.0}
SUM = "a, b = map(int, input().split())\nprint(a + b)\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(), workers=2) as judge:
        yield judge


def program(code: str, *tests: tuple[str, str], name: str = "p", seconds: float = 5.0, mib: int = 512) -> Submission:
    inputs, expected = zip(*tests, strict=True)
    return Submission(name, code, inputs, expected, limits=Limits(seconds, mib))


def verdict_of(judge: Judge, submission: Submission) -> Verdict:
    (judgement,) = judge.judge([submission], stop_at_first_failure=True)
    return judgement.verdict


def test_verdicts_agree_with_plain_python_on_the_livecodebench_cases(judge: Judge) -> None:
    cases = [case for case in CASES if "plain_pass" in case and case["id"] not in LEFT_OUT]
    submissions = []
    for case in cases:
        code = extract_code(case["model_output"]) or "" if "model_output" in case else case["code"]
        tests = case["tests"]
        limits = Limits(SECONDS_NEEDED.get(case["id"], 2.0), 1024)
        submissions.append(Submission(case["id"], code, tuple(tests["inputs"]), tuple(tests["outputs"]), limits=limits))
    differences = []
    for case, judgement in zip(cases, judge.judge(submissions, stop_at_first_failure=True), strict=True):
        should_pass = case["plain_pass"] and case["official_bug"] != "UNSAFE"
        if (judgement.verdict is Verdict.AC) != should_pass:
            differences.append((case["id"], judgement.verdict, case["note"]))
    assert len(cases) > 140
    assert not differences


def test_function_cases_that_escape_or_cheat_never_pass(judge: Judge) -> None:
    cases = [case for case in CASES if case["tests"]["fn_name"] and case["official_bug"] == "UNSAFE"]
    assert cases
    for case in cases:
        tests = case["tests"]
        submission = Submission(
            case["id"], case["code"], tuple(tests["inputs"]), tuple(tests["outputs"]), function_name=tests["fn_name"]
        )
        assert verdict_of(judge, submission) in (Verdict.WA, Verdict.RE)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (SUM, Verdict.AC),
        ("print(8)", Verdict.WA),
        ("while True: pass", Verdict.TLE),
        ("import time\ntime.sleep(60)", Verdict.TLE),
        ("x = [0] * 10**10", Verdict.MLE),
        ("x = bytearray(300 << 20)", Verdict.MLE),
        ("x = bytearray(245 << 20)\nprint(7)", Verdict.AC),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", Verdict.MLE),
        ("while True: print('x' * 100000)", Verdict.OLE),
        ("1 / 0", Verdict.RE),
        ("import sys\nsys.exit(70)", Verdict.RE),
        ("print(7\n", Verdict.CE),
        ("print(7)\0", Verdict.CE),
        ("(" * 100_000, Verdict.CE),
        ("x = " + "-" * 200_000 + "1", Verdict.CE),
    ],
)
def test_verdict(judge: Judge, code: str, verdict: Verdict) -> None:
    assert verdict_of(judge, program(code, ("3 4\n", "7\n"), seconds=0.5, mib=256)) is verdict


def test_the_room_for_a_threads_stack_is_no_memory_to_be_had(judge: Judge) -> None:
    code = "import threading\nthreading.stack_size(1 << 26)\nheld = b'x' * (200 << 20)\nprint(7)\n"
    assert verdict_of(judge, program(code, ("", "7"), mib=64)) is Verdict.MLE


def test_cpu_time_decides_and_fractions_of_a_second_count() -> None:
    with Judge(JudgeSettings(wall_factor=100.0), workers=1) as judge:  # the wall clock has no say, however slow it is
        (judgement,) = judge.judge([program("while True: pass", ("", "x"), seconds=0.3)], stop_at_first_failure=True)
    assert judgement.verdict is Verdict.TLE
    assert 0.3 <= judgement.tests[0].cpu_seconds < 1


def test_wall_clock_cap_is_what_the_settings_say() -> None:
    with Judge(JudgeSettings(wall_factor=1.0, wall_extra_seconds=0.4), workers=1) as judge:
        sleeping = program("import time\ntime.sleep(3600)", ("", ""), seconds=0.2)
        (judgement,) = judge.judge([sleeping], stop_at_first_failure=True)
    assert judgement.verdict is Verdict.TLE
    assert 0.6 <= judgement.tests[0].wall_seconds < 60


def test_order_of_judgements_is_the_order_of_submissions(judge: Judge) -> None:
    submissions = [
        program(
            f"import time\ntime.sleep({0.1 if index % 7 == 0 else 0})\nprint({index})",
            ("", str(index)),
            name=str(index),
        )
        for index in range(60)
    ]
    judgements = list(judge.judge(submissions, stop_at_first_failure=True))
    assert [judgement.id for judgement in judgements] == [submission.id for submission in submissions]
    assert {judgement.verdict for judgement in judgements} == {Verdict.AC}


def test_submissions_are_consumed_as_results_are_taken(judge: Judge) -> None:
    consumed = itertools.count()
    endless = (program("print(1)", ("", "1"), name=str(next(consumed))) for _ in itertools.count())
    judgements = judge.judge(endless, stop_at_first_failure=True)
    first = list(itertools.islice(judgements, 30))
    judgements.close()  # type: ignore[attr-defined]
    assert [judgement.id for judgement in first] == [str(index) for index in range(30)]
    assert next(consumed) <= 30 + FINISHED_PER_WORKER * judge.workers + 1  # what a slow first program may be behind


def test_early_stop_runs_nothing_after_the_first_failure(judge: Judge) -> None:
    slow_after_first = "n = int(input())\nwhile n: pass\nprint('wrong')"
    tests = [("0\n", "right")] + [("1\n", "right")] * 2
    (judgement,) = judge.judge([program(slow_after_first, *tests, seconds=60.0)], stop_at_first_failure=True)
    assert (judgement.verdict, judgement.passed, judgement.total, len(judgement.tests)) == (Verdict.WA, 0, 3, 1)


def test_without_early_stop_every_test_is_counted(judge: Judge) -> None:
    tests = [(f"{k} 1\n", str(k + 1 if k % 2 else -1)) for k in range(40)]
    (judgement,) = judge.judge([program(SUM, *tests)], stop_at_first_failure=False)
    assert (judgement.verdict, judgement.passed, judgement.total, len(judgement.tests)) == (Verdict.WA, 20, 40, 40)


def test_large_inputs_and_outputs_pass_whole(judge: Judge) -> None:
    text = "".join(f"{number}\n" for number in range(1_000_000))
    assert verdict_of(judge, program("import sys\nsys.stdout.write(sys.stdin.read())", (text, text))) is Verdict.AC


def test_a_thousand_tests_are_judged_each_on_its_own(judge: Judge) -> None:
    tests = [(f"{k} {k}\n", str(2 * k)) for k in range(1000)]
    (judgement,) = judge.judge([program(SUM, *tests)], stop_at_first_failure=False)
    assert (judgement.passed, len(judgement.tests)) == (1000, 1000)


def test_state_of_one_test_is_not_seen_by_the_next(judge: Judge) -> None:
    code = "import heapq\nprint(getattr(heapq, 'mark', 0))\nheapq.mark = 1\n"
    (execution,) = judge.execute([program(code, ("", "0"), ("", "0"))])
    assert [run.output for run in execution.runs] == ["0\n", "0\n"]


def test_programs_are_deterministic(judge: Judge) -> None:
    code = "import random\nprint(random.random(), hash('text'), list({'a', 'b', 'c'}))\n"
    executions = list(judge.execute([program(code, ("", ""), ("", ""))] * 8))
    assert len({run.output for execution in executions for run in execution.runs}) == 1


def test_execution_gives_each_status_and_output(judge: Judge) -> None:
    code = "n = int(input())\nif n == 1: 1 / 0\nwhile n == 2: pass\nprint(n)\n"
    (execution,) = judge.execute([program(code, ("0", ""), ("1", ""), ("2", ""), ("3", ""), seconds=0.5)])
    assert [run.status for run in execution.runs] == ["OK", "RE", "TLE", "OK"]
    assert [run.output for run in execution.runs] == ["0\n", None, None, "3\n"]


def test_execution_gives_standard_output_and_return_code_of_a_failing_program(judge: Judge) -> None:
    code = "import sys\nn = int(input())\nprint(n, flush=True)\nif n == 3: import os; os.abort()\nsys.exit(n)\n"
    (execution,) = judge.execute([program(code, ("0", ""), ("2", ""), ("3", ""))])
    assert [run.stdout for run in execution.runs] == ["0\n", "2\n", "3\n"]
    assert [run.return_code for run in execution.runs[:2]] == [0, 2]
    assert (execution.runs[2].return_code or 0) < 0  # by which signal is up to the C library


def test_cancelling_ends_what_runs_and_loses_nothing_else(judge: Judge) -> None:
    async def cancel_and_go_on() -> list[Verdict]:
        sleeping = [program("import time\ntime.sleep(3600)", ("", ""), seconds=3600.0)] * (2 * judge.workers)
        abandoned = asyncio.create_task(judge.judge_async(sleeping, stop_at_first_failure=True))
        await asyncio.sleep(0.5)
        others = asyncio.create_task(judge.judge_async([program(SUM, ("1 2", "3"))] * 20, stop_at_first_failure=True))
        abandoned.cancel()
        return [judgement.verdict for judgement in await others]

    assert asyncio.run(cancel_and_go_on()) == [Verdict.AC] * 20


@pytest.mark.parametrize("share_process", [False, True])
def test_function_problems(judge: Judge, share_process: bool) -> None:
    code = textwrap.dedent("""
        class Solution:
            def act(self, kind: str, value: List[int]) -> Any:
                print("debugging is not the answer")
                if kind == "sum": return sum(value)
                if kind == "pair": return (value, [tuple(value)])
                if kind == "one": return 1
                if kind == "fail": raise SystemExit(0)
                if kind == "loop":
                    while True: pass
                if kind == "die":
                    import os
                    os._exit(0)
        """)
    kinds = ["sum", "pair", "one", "fail", "loop", "sum", "die", "sum"]
    expected = ["6", "[[1,2,3],[[1,2,3]]]", "true", "6", "6", "6.0", "6", "7"]
    submission = Submission(
        "f",
        code,
        tuple(f'"{kind}"\n[1, 2, 3]' for kind in kinds),
        tuple(expected),
        function_name="act",
        limits=Limits(0.5),
        share_process=share_process,
    )
    (judgement,) = judge.judge([submission], stop_at_first_failure=False)
    assert [test.verdict.value for test in judgement.tests] == ["AC", "AC", "WA", "RE", "TLE", "AC", "RE", "WA"]


def test_deeply_nested_result_is_a_wrong_answer(judge: Judge) -> None:
    code = "import os\ndef f():\n    os.write(3, b'[' * 10**6)\n    os._exit(0)\n"
    submission = Submission("deep", code, ("",), ("[]",), function_name="f")
    assert verdict_of(judge, submission) is Verdict.WA


def test_past_the_deadline_is_an_infrastructure_failure_never_a_wrong_answer(judge: Judge) -> None:
    submissions = [program(SUM, ("1 2\n", "3"), name="quick")]
    submissions += [program("import time\ntime.sleep(3600)\nprint(3)", ("1 2\n", "3"), name="slow", seconds=3600.0)] * 5
    judgements = asyncio.run(judge.judge_async(submissions, stop_at_first_failure=True, deadline_seconds=3.0))
    assert [judgement.verdict for judgement in judgements] == [Verdict.AC] + [Verdict.IE] * 5
    assert all(judgement.is_infrastructure_failure for judgement in judgements[1:])
    assert verdict_of(judge, program(SUM, ("3 4\n", "7"))) is Verdict.AC


def test_concurrent_calls_share_the_workers(judge: Judge) -> None:
    async def several() -> list[list[str]]:
        batches = [[program(f"print({k})", ("", str(k)), name=f"{b}-{k}") for k in range(10)] for b in range(5)]
        done = await asyncio.gather(*(judge.judge_async(batch, stop_at_first_failure=True) for batch in batches))
        assert all(judgement.verdict is Verdict.AC for batch in done for judgement in batch)
        return [[judgement.id for judgement in batch] for batch in done]

    assert asyncio.run(several()) == [[f"{b}-{k}" for k in range(10)] for b in range(5)]


def test_missing_expected_output_is_refused(judge: Judge) -> None:
    with pytest.raises(InputError, match="test 1 has no expected output"):
        list(judge.judge([Submission("x", SUM, ("1 2", "3 4"), ("3", None))], stop_at_first_failure=True))


@pytest.mark.parametrize("policy", ["faithful", "livecodebench"])
@pytest.mark.parametrize("tier", [None, "D"])
def test_a_library_that_finds_no_memory_is_a_verdict_on_the_program(policy: Any, tier: Any) -> None:
    """OpenBLAS ends its process there, or does not end; which, and below how much, its version decides.

    Who names numpy and never imports it does not meet that.
    """
    dead = "print(3)\nif False:\n    import numpy"
    live = "import numpy\nprint(3)"
    method = "class Solution:\n    def f(self, a):\n        if a:\n            import numpy\n        return 3"
    tests = {"inputs": ("0", "0"), "expected": ("3", "3")}
    with Judge(JudgeSettings(policy=policy, tier=tier), workers=1) as judge:
        for mib in (48, 64, 72):
            limits = Limits(2.0, mib)
            assert verdict_of(judge, Submission("dead", dead, **tests, limits=limits)) is Verdict.AC
            assert verdict_of(judge, Submission("live", live, **tests, limits=limits)) is not Verdict.IE
            for share in (False, True):
                function = Submission("f", method, **tests, function_name="f", share_process=share, limits=limits)
                assert verdict_of(judge, function) is Verdict.AC
