"""The processes of the judge: what they know, what follows when one is killed, and that none is left."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.verdict import Judgement, Verdict
from tests.reward.test_judge import SUM, program
from xcoder_core.errors import InfrastructureError

ROOT = Path(__file__).parents[2]


def test_expected_outputs_are_nowhere_below_the_supervisor() -> None:
    """Read the memory of every process of the judge while a program runs: the expected output is in none of them."""
    secret = "EXPECTED" + os.urandom(8).hex()
    with Judge(JudgeSettings(tier="B"), workers=1) as judge:
        waiting = program("import time\ntime.sleep(8)", ("", secret), seconds=20)
        results = judge.judge([waiting], stop_at_first_failure=True)
        thread = threading.Thread(target=lambda: list(results))
        thread.start()
        deadline = time.monotonic() + 6
        while len(below := zygotes_below(os.getpid())) < 3:
            assert time.monotonic() < deadline, f"the judge runs only {len(below)} processes"
            time.sleep(0.1)
        readable = [pid for pid in below if contains(pid, secret.encode())]
        thread.join()
    assert contains(os.getpid(), secret.encode())
    assert readable == []


def zygotes_below(pid: int) -> list[int]:
    with suppress(FileNotFoundError):  # one of them has ended meanwhile
        return [below for below in descendants(pid) if b"zygote" in Path(f"/proc/{below}/cmdline").read_bytes()]
    return []


def descendants(pid: int) -> list[int]:
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def contains(pid: int, text: bytes) -> bool:
    """False also for a process whose memory the kernel closes to its own user."""
    with suppress(PermissionError), open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            addresses, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            first, last = (int(address, 16) for address in addresses.split("-"))
            try:
                memory.seek(first)
                if text in memory.read(last - first):
                    return True
            except (OSError, ValueError):
                continue
    return False


def test_killed_zygotes_lose_and_double_no_verdict() -> None:
    with Judge(JudgeSettings(), workers=2) as judge:
        submissions = [
            program(f"import time\ntime.sleep(0.02)\nprint({index})", ("", str(index)), name=str(index))
            for index in range(120)
        ]
        judgements = []
        for judgement in judge.judge(submissions, stop_at_first_failure=True):
            judgements.append(judgement)
            if len(judgements) in (20, 60):
                for pid in descendants(os.getpid())[:1]:
                    os.kill(pid, signal.SIGKILL)
    assert [judgement.id for judgement in judgements] == [submission.id for submission in submissions]
    assert {judgement.verdict for judgement in judgements} == {Verdict.AC}


def sleeping_test(others: set[int]) -> int:
    """The process of a test that sleeps, below a zygote and a template that are not among `others`."""
    deadline = time.monotonic() + 6
    child, asleep = 0, 0
    while asleep < 5:  # looks in a row: the first test's process never sleeps
        assert time.monotonic() < deadline
        time.sleep(0.05)
        zygote_template_child = [pid for pid in descendants(os.getpid()) if pid not in others]
        last = zygote_template_child[-1] if len(zygote_template_child) == 3 else 0
        asleep = asleep + 1 if last == child and is_asleep(last) else 0
        child = last
    return child


def test_program_that_somebody_else_kills_is_a_failure_of_ours_even_after_a_wrong_answer() -> None:
    """As the kernel's out-of-memory killer does: the first test is wrong, the second one's process is killed, and
    killed again when the program is run anew."""
    others = set(descendants(os.getpid()))
    with Judge(JudgeSettings(tier="B"), workers=1) as judge:
        sleeping = program("import time\nn = int(input())\ntime.sleep(20 * n)\nprint(n)", ("0", "1"), ("1", "1"))
        judgements: list[Judgement] = []
        thread = threading.Thread(
            target=lambda: judgements.extend(judge.judge([sleeping], stop_at_first_failure=False))
        )
        thread.start()
        for _ in range(2):
            os.kill(sleeping_test(others), signal.SIGKILL)
        thread.join()
    (judgement,) = judgements
    assert judgement.verdict is Verdict.IE
    assert judgement.is_infrastructure_failure


def is_asleep(pid: int) -> bool:
    try:
        return ") S " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("tier", ["A", "B"])
def test_killed_supervisor_leaves_no_process(tier: str) -> None:
    marker = f"marker-{os.urandom(6).hex()}"
    program_text = textwrap.dedent(f"""
        import sys, threading, time
        from pathlib import Path
        import reward.worker
        from reward.config import JudgeSettings
        from reward.judge import Judge
        from reward.submission import Submission
        reward.worker.ENVIRONMENT["MARKER"] = {marker!r}
        judge = Judge(JudgeSettings(tier={tier!r}), workers=2)
        endless = (Submission(str(k), "import time\\ntime.sleep(30)", ("",), ("",)) for k in range(4))
        threading.Thread(target=lambda: list(judge.judge(endless, stop_at_first_failure=True)), daemon=True).start()
        time.sleep(1.5)
        print("running", flush=True)
        time.sleep(60)
        """)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", program_text], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "running\n"
    below = descendants(supervisor.pid)
    assert len(below) >= 6
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(is_alive(pid) for pid in below):
        time.sleep(0.05)
    assert [pid for pid in below if is_alive(pid)] == []


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_close_ends_running_programs_and_leaves_no_process() -> None:
    judge = Judge(JudgeSettings(), workers=1)
    results = judge.judge([program("while True: pass", ("", ""), seconds=60)], stop_at_first_failure=True)
    failure: list[BaseException] = []

    def take() -> None:
        try:
            list(results)
        except InfrastructureError as error:
            failure.append(error)

    before = set(descendants(os.getpid()))
    thread = threading.Thread(target=take)
    thread.start()
    time.sleep(0.8)
    started = set(descendants(os.getpid())) - before
    assert started
    judge.close()
    thread.join(5)
    assert len(failure) == 1
    assert not any(is_alive(pid) for pid in started)
    with pytest.raises(InfrastructureError, match="closed"):
        list(judge.judge([program(SUM, ("1 2", "3"))], stop_at_first_failure=True))
