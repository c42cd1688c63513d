"""The judge of this project as a harness among others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.judge.process import Outcome, Prepare
from benchmarks.judge.workloads import Program
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tasks import JudgementTask
from reward.verdict import Judgement, Verdict
from reward.worker import Worker
from xcoder_core.problem import Limits


@contextmanager
def judge(
    workers: int, stop_at_first_failure: bool = False, share_process: bool = False, output_mib: int = 16
) -> Iterator[Prepare]:
    """The judge as everything else uses it, in the strongest tier."""
    with Judge(JudgeSettings(output_mib=output_mib), workers=workers) as opened:

        def prepare(programs: list[Program]) -> Callable[[], Outcome]:
            pending = [submission(program, share_process) for program in programs]
            return lambda: outcome(programs, list(opened.judge(pending, stop_at_first_failure=stop_at_first_failure)))

        yield prepare


@contextmanager
def judge_in_tier(tier: str) -> Iterator[Prepare]:
    """One worker in a tier that is named, also in "none", without the threads and the choice of tier above it."""
    worker = Worker(tier, for_functions=False)
    try:

        def prepare(programs: list[Program]) -> Callable[[], Outcome]:
            settings = JudgeSettings()
            tasks = [JudgementTask(submission(program), settings, tier, False) for program in programs]
            return lambda: outcome(programs, [task.carry_out(worker, None) for task in tasks])

        yield prepare
    finally:
        worker.close()


def submission(program: Program, share_process: bool = False) -> Submission:
    return Submission(
        program.id,
        program.code,
        program.inputs,
        program.expected,
        function_name=program.function_name,
        limits=Limits(program.seconds),
        share_process=share_process,
    )


def outcome(programs: list[Program], judgements: list[Judgement]) -> Outcome:
    """Raises `ValueError` where a verdict is not exactly the right one."""
    for program, judgement in zip(programs, judgements, strict=True):
        if judgement.verdict != program.verdict:
            raise ValueError(f"expected {program.verdict}: {judgement}")
    tests_cpu = sum(test.cpu_seconds for judgement in judgements for test in judgement.tests)
    return Outcome([judgement.verdict is Verdict.AC for judgement in judgements], tests_cpu)
