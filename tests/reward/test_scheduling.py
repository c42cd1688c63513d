"""The pool's promises: no verdict is lost, doubled or wrong whoever dies; work is bounded; ending leaves nothing."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from reward.config import JudgeSettings
from reward.judge import UNFINISHED_PER_WORKER, Judge
from reward.submission import Submission
from reward.verdict import Judgement, Verdict
from xcoder_core.errors import InfrastructureError
from xcoder_core.problem import Limits

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
NAP = "import time\ntime.sleep({seconds})\nprint(int(input()) + 1)\n"
A_WHILE, FOR_EVER = 1, 200
"""How often the compiler is made to work for the better part of a second."""
SALT = itertools.count()


def napping(seconds: float, name: str = "p", tests: int = 1) -> Submission:
    inputs, expected = zip(*((str(number), str(number + 1)) for number in range(tests)), strict=True)
    return Submission(name, NAP.format(seconds=seconds), inputs, expected, limits=Limits(max(60, seconds)))


def slow_to_compile(times: int, name: str = "cpp") -> Submission:
    """Never the same program twice, so that it is not compiled yet."""
    code = f"""// {next(SALT)}
    #include <cstdio>
    template <int S> constexpr int f(int n) {{ return n < 2 ? S : (f<S>(n - 1) + f<S>(n - 2)) % 7; }}
    {"".join(f"enum {{ x{each} = f<{each}>(34) }};" for each in range(times))}
    int main() {{ puts("7"); }}"""
    return Submission(name, code, ("",), ("7",), language="cpp")


def judged(judge: Judge, *submissions: Submission) -> list[Judgement]:
    return list(judge.judge(submissions, stop_at_first_failure=False))


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


OTHERS: set[int] = set()
"""Processes that other modules of tests have left to end when pytest does."""


@pytest.fixture(scope="module", autouse=True)
def leave_others_alone() -> None:
    OTHERS.update(process.pid for process in psutil.Process().children(recursive=True))


def below(pid: int | None = None) -> list[psutil.Process]:
    return [process for process in psutil.Process(pid).children(recursive=True) if process.pid not in OTHERS]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, left = psutil.wait_procs(processes, timeout=5)
    return [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def by_name(name: str) -> list[psutil.Process]:
    found = []
    for process in below():
        try:
            if process.name() == name:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def chain(judge: Judge) -> list[psutil.Process]:
    """Zygote, template and program of the one worker; none while not all of them run."""
    processes = below()
    return processes[-3:] if len(processes) == (4 if judge.tier in "AC" else 3) else []


def kill_each_new(find: Callable[[], list[psutil.Process]], times: int) -> threading.Thread:
    """A thread that kills what `find` finds, `times` times, each time another process."""

    def run() -> None:
        killed: set[int] = set()
        for _ in range(times):
            wait_until(lambda: any(process.pid not in killed for process in find()))
            for process in find():
                killed.add(process.pid)
                process.kill()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("role", ["zygote", "template", "program"])
def test_a_process_killed_once_changes_no_verdict_and_killed_twice_is_ie(role: str) -> None:
    place = ["zygote", "template", "program"].index(role)
    with Judge(JudgeSettings(), workers=1) as judge:
        for kills, verdict in ((1, Verdict.AC), (2, Verdict.IE)):
            killer = kill_each_new(lambda: chain(judge)[place : place + 1], kills)
            hit, after = judged(judge, napping(1.0), napping(0))
            killer.join()
            assert (hit.verdict, hit.passed, after.verdict) == (verdict, int(kills == 1), Verdict.AC)


@needs_compiler
@pytest.mark.parametrize("role", ["the box", "g++", "cc1plus"])
def test_a_killed_compiler_is_no_compile_error(role: str) -> None:
    def find() -> list[psutil.Process]:
        compilers = by_name("cc1plus")
        if role != "the box" or not compilers:
            return by_name(role)
        parents = compilers[0].parents()
        return [parents[parents.index(psutil.Process()) - 1]]

    with Judge(JudgeSettings(), workers=1) as judge:
        killer = kill_each_new(find, 1)
        (hit,) = judged(judge, slow_to_compile(A_WHILE))
        killer.join()
        assert hit.verdict is Verdict.AC, hit.message
        if role == "cc1plus":
            submission = slow_to_compile(A_WHILE)
            killer = kill_each_new(find, 2)
            assert [each.verdict for each in judged(judge, submission)] == [Verdict.IE]
            killer.join()
            assert [each.verdict for each in judged(judge, submission)] == [Verdict.AC]  # and nothing wrong was kept


def test_a_killed_thread_of_the_supervisor_loses_and_doubles_no_verdict() -> None:
    """An exception is thrown into the judge's threads at random instants, wherever they are."""
    source, done = random.Random(0), threading.Event()
    with Judge(JudgeSettings(), workers=2) as judge:
        threads = [thread for thread in threading.enumerate() if thread.name == "judge-worker"]

        def kill() -> None:
            for _ in range(25):
                if done.wait(source.uniform(0, 0.2)):
                    return
                number = ctypes.c_ulong(source.choice(threads).ident or 0)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(SystemExit))

        killer = threading.Thread(target=kill)
        killer.start()
        submissions = [napping(0.02, name=str(number), tests=2) for number in range(80)]
        judgements = judged(judge, *submissions)
        done.set()
        killer.join()
        assert [judgement.id for judgement in judgements] == [submission.id for submission in submissions]
        assert {judgement.verdict for judgement in judgements} <= {Verdict.AC, Verdict.IE}
        assert sum(judgement.verdict is Verdict.AC for judgement in judgements) > 60
        assert judge.is_alive
        assert judged(judge, napping(0))[0].verdict is Verdict.AC
    assert alive(below()) == []


def test_other_programs_run_while_a_slow_one_is_waited_for_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward.executor.FINISHED_PER_WORKER", 3 * UNFINISHED_PER_WORKER)
    consumed = itertools.count()
    with Judge(JudgeSettings(), workers=2) as judge:
        endless = (
            napping(2.5 if number == 0 else 0, name=str(number))
            for number in map(lambda _: next(consumed), itertools.count())
        )
        judgements = judge.judge(endless, stop_at_first_failure=True)
        first = next(judgements)
        ahead = next(consumed)
        judgements.close()  # type: ignore[attr-defined]
        assert first.id == "0"
        assert 2 * UNFINISHED_PER_WORKER * judge.workers < ahead <= 3 * UNFINISHED_PER_WORKER * judge.workers + 1


def test_what_programs_print_bounds_how_far_executions_run_ahead() -> None:
    printing = "print('x' * 2**17)"
    consumed: list[int] = []

    def endless() -> Iterator[Submission]:
        for number in itertools.count():
            consumed.append(number)
            yield napping(2.5) if number == 0 else Submission(str(number), printing, ("",), (None,))

    with Judge(JudgeSettings(output_mib=1), workers=2) as judge:
        executions = judge.execute(endless())
        next(executions)
        assert len(consumed) <= 2 * 2**20 / 2**18 + UNFINISHED_PER_WORKER * judge.workers + 1
        executions.close()  # type: ignore[attr-defined]


def test_long_and_short_programs_are_spread_over_the_workers() -> None:
    """Of the long ones, every fourth, some run at the same time: dealt out in turns, one worker would have them all."""
    code = "import time\nbegin = time.monotonic()\ntime.sleep({})\nprint(begin, time.monotonic())\n"
    long, short = (Submission("p", code.format(seconds), ("",), ("",), limits=Limits(60)) for seconds in (0.5, 0))
    with Judge(JudgeSettings(), workers=2) as judge:
        executions = judge.execute([long if number % 4 == 0 else short for number in range(32)])
        times = [tuple(map(float, each.runs[0].stdout.split())) for each in executions]
    naps = [time for time in times if time[1] - time[0] >= 0.5]
    assert any(one[0] < other[0] < one[1] for one in naps for other in naps)


def test_a_deadline_holds_for_the_synchronous_interface_too() -> None:
    with Judge(JudgeSettings(), workers=1) as judge:
        submissions = [napping(0, "quick"), napping(3600, "slow"), napping(0, "waits")]
        judgements = list(judge.judge(submissions, stop_at_first_failure=True, deadline_seconds=3.0))
        assert [each.verdict for each in judgements] == [Verdict.AC, Verdict.IE, Verdict.IE]
        executions = list(judge.execute([napping(3600)], deadline_seconds=0.5))
        assert executions[0].runs[0].status == "IE"


def test_closing_the_iterator_ends_what_runs_for_it() -> None:
    with Judge(JudgeSettings(), workers=1) as judge:
        judgements = judge.judge([napping(0), napping(3600)], stop_at_first_failure=True)
        next(judgements)
        wait_until(lambda: chain(judge))
        judgements.close()  # type: ignore[attr-defined]
        assert judged(judge, napping(0))[0].verdict is Verdict.AC


def test_whoever_submits_while_the_judge_closes_is_answered() -> None:
    for _ in range(5):
        judge, answers = Judge(JudgeSettings(), workers=1), []

        def submit(judge: Judge, answers: list[object]) -> None:
            try:
                while True:
                    answers.append(judged(judge, napping(0))[0].verdict)
            except InfrastructureError as error:
                answers.append(error)

        threads = [threading.Thread(target=submit, args=(judge, answers)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda answers=answers: len(answers) > 4)
        judge.close()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert sum(isinstance(answer, InfrastructureError) for answer in answers) == 4


@needs_compiler
@pytest.mark.parametrize("ending", ["close", "cancel", "deadline"])
def test_a_compilation_ends_at_once_and_leaves_nothing(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def judge_it(judge: Judge) -> list[Judgement]:
        deadline = 2.0 if ending == "deadline" else None
        task = asyncio.create_task(
            judge.judge_async([slow_to_compile(FOR_EVER)], stop_at_first_failure=True, deadline_seconds=deadline)
        )
        await asyncio.to_thread(wait_until, lambda: by_name("cc1plus"))
        if ending == "close":
            await asyncio.to_thread(judge.close)
        if ending == "cancel":
            task.cancel()
        return await task

    with Judge(JudgeSettings(), workers=1) as judge:
        if ending == "deadline":
            assert [each.verdict for each in asyncio.run(judge_it(judge))] == [Verdict.IE]
        else:
            with pytest.raises(InfrastructureError if ending == "close" else asyncio.CancelledError):
                asyncio.run(judge_it(judge))
        if ending != "close":
            assert judged(judge, napping(0))[0].verdict is Verdict.AC  # the worker is free again
        assert alive(by_name("cc1plus") + by_name("g++")) == []
    assert list(tmp_path.iterdir()) == []
    assert alive(below()) == []


@needs_compiler
def test_who_waits_for_a_compilation_that_is_cancelled_gets_the_right_verdict() -> None:
    async def several(judge: Judge) -> tuple[list[Judgement], list[Judgement]]:
        submission = slow_to_compile(A_WHILE)

        def start(deadline: float | None = None) -> "asyncio.Task[list[Judgement]]":
            judging = judge.judge_async([submission], stop_at_first_failure=True, deadline_seconds=deadline)
            return asyncio.create_task(judging)

        first = start()
        await asyncio.to_thread(wait_until, lambda: by_name("cc1plus"))
        waits, waits_briefly = start(), start(0.3)
        late = await waits_briefly
        first.cancel()
        return await waits, late

    with Judge(JudgeSettings(), workers=3) as judge:
        (waited,), (late,) = asyncio.run(several(judge))
        assert (waited.verdict, late.verdict) == (Verdict.AC, Verdict.IE)


@needs_compiler
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_supervisor_that_is_ended_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path) -> None:
    """Two programs run and a third is compiled when the signal comes, to the whole session as from a terminal."""
    program = textwrap.dedent("""
        from tests.reward.test_scheduling import *
        with Judge(JudgeSettings(), workers=3) as judge:
            looping = Submission("p", "while True: pass", ("",), ("",), limits=Limits(60))
            judged(judge, looping, slow_to_compile(FOR_EVER), looping)
        """)
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    supervisor = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        start_new_session=True,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        # Deaf to it where tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def all_at_work() -> bool:
        try:
            names = [process.name() for process in below(supervisor.pid)]
        except psutil.NoSuchProcess:
            return False
        return "cc1plus" in names and len(names) >= 2 * 3 + 1 + 3  # programs, a zygote, a compilation

    wait_until(all_at_work)
    started = below(supervisor.pid)
    assert list(tmp_path.iterdir())
    os.killpg(supervisor.pid, number)
    supervisor.communicate(timeout=20)
    assert alive(started) == []
    wait_until(lambda: list(tmp_path.iterdir()) == [], 5)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            assert os.getsid(process.pid) != supervisor.pid


def test_the_supervisors_memory_is_bounded_by_workers_and_output_cap() -> None:
    """Every test prints or returns up to its cap, in the forms that take the most memory to read."""
    program = textwrap.dedent("""
        import resource
        from tests.reward.test_scheduling import *
        MIB, WORKERS = 4, 2
        SIZE = (MIB << 20) - 1000
        PRINTED = {
            "one line": f"'x' * {SIZE}",
            "short lines": f"'12\\\\n' * {SIZE // 3}",
            "tokens": f"'12 ' * {SIZE // 3}",
            "one numeral": f"'1' * {SIZE}",
            "one wide character": f"chr(0x1F600) + ' 12' * {SIZE // 3 - 4}",
        }
        EXPECTED = {"short lines": "13\\n" * (SIZE // 3)}
        def function(name, value):
            code = f"import os\\ndef f():\\n    os.write(3, {value})\\n    os._exit(0)\\n"
            return Submission(name, code, ("",) * 6, ("[[]]",) * 6, function_name="f")
        submissions = [function("json", f"b'[' + b'[],' * {SIZE // 3 - 2} + b'[]]'")]
        for name, text in PRINTED.items():
            code = f"import sys\\nsys.stdout.write({text})\\n"
            submissions.append(Submission(name, code, ("",) * 6, (EXPECTED.get(name, "7"),) * 6))
        with Judge(JudgeSettings(output_mib=MIB), workers=WORKERS) as judge:
            judged(judge, napping(0))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            judgements = judged(judge, *submissions * 2)
            assert {each.verdict for each in judgements} == {Verdict.WA}, judgements
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((after - before) / 1024 / MIB / WORKERS)
        """)
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 10  # bytes, text and its parts; a list of the tokens alone would be 30


@pytest.mark.slow
def test_nothing_leaks_and_no_verdict_is_wrong_in_a_soak() -> None:
    from benchmarks.soak import soak

    report = soak(5_000, workers=2, seconds_between_kills=0.4, seed=1)
    assert report["problems"] == []
    assert report["executions"] >= 5_000 and report["hostile_programs"] > 5
    assert sum(report["kills"].values()) > 10 and report["failures_of_workers"] > 5
