"""The judge on a Ray cluster of several nodes: the verdicts of one machine, whatever happens to the nodes.

All tests share one cluster and, but for the last, one judge. The last but one closes it, the last kills every node.
"""

import asyncio
import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from reward.checker import FloatChecker
from reward.config import JudgeSettings
from reward.executor import Executor
from reward.judge import Judge
from reward.open_judge import open_judge
from reward.submission import Submission
from reward.verdict import Execution, Judgement, Verdict
from xcoder_core.errors import EnvironmentLacks, InfrastructureError, InputError
from xcoder_core.problem import Limits

SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
SMALL_NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
NOTICE_DEATH_SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors and two nodes with one each, all of them on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        head = {**SMALL_NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": NOTICE_DEATH_SOON}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(wait=False, **SMALL_NODE)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def judge(cluster: Any) -> Iterator[Executor]:
    with open_judge(JudgeSettings(executor="ray", ray_address=cluster.address)) as judge:
        from reward.ray_judge import RayJudge

        assert isinstance(judge, RayJudge)
        yield judge


def program(code: str, *tests: tuple[str, str], name: str = "p", seconds: float = 5.0, mib: int = 512) -> Submission:
    inputs, expected = zip(*tests, strict=True)
    return Submission(name, code, inputs, expected, limits=Limits(seconds, mib))


def numbered(count: int, seconds: float = 0.0) -> list[Submission]:
    return [
        program(f"import time\ntime.sleep({seconds})\nprint({index})", ("", str(index)), name=str(index))
        for index in range(count)
    ]


def mixed_corpus() -> list[Submission]:
    codes = {
        "honest": SUM,
        "wrong": "print(8)",
        "partly wrong": "a, b = map(int, input().split())\nprint(a + b if a else 0)",
        "hanging": "while True: pass",
        "sleeping": "import time\ntime.sleep(60)",
        "hungry": "x = [0] * 10**10",
        "talkative": "while True: print('x' * 100000)",
        "failing": "1 / 0",
        "broken": "print(7\n",
        "surrogate": "print('\ud800')",
    }
    tests = (("3 4\n", "7\n"), ("0 5\n", "5\n"))
    corpus = [program(code, *tests, name=name, seconds=0.2, mib=256) for name, code in codes.items()]
    function = "class Solution:\n    def act(self, n):\n        return [n] * n\n"
    for share in (False, True):
        calls, values = ("2", "3", "1"), ("[2,2]", "[3,3,3]", "[2]")
        corpus.append(Submission(f"f{share}", function, calls, values, function_name="act", share_process=share))
    close = FloatChecker(absolute=1e-3, relative=0.0)
    corpus.append(Submission("close", "print(0.3333)", ("", ""), ("0.33333", "0.5"), checker=close))
    if shutil.which("g++"):
        cpp = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }"
        inputs, expected = zip(*tests, strict=True)
        corpus.append(Submission("c++", cpp, inputs, expected, language="cpp"))
    return corpus


def without_times(judgement: Judgement) -> tuple[Any, ...]:
    verdicts = [test.verdict for test in judgement.tests]
    return (
        judgement.id,
        judgement.verdict,
        judgement.passed,
        judgement.total,
        verdicts,
        judgement.tier,
        judgement.policy,
    )


def outputs(execution: Execution) -> tuple[Any, ...]:
    return execution.id, execution.tier, [(run.status, run.output, run.return_code) for run in execution.runs]


def processes_of_judges() -> list[psutil.Process]:
    """The actors of the cluster and the sandboxes below them; not those of a service that other tests have running."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # many live for a moment only
            line = " ".join(child.cmdline())
            is_of_a_node = any(parent.name() == "raylet" for parent in child.parents())
            if is_of_a_node and ("ray::NodeJudge" in line or "zygote" in line):
                found.append(child)
    return found


def soon(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_so()


def test_a_package_or_cluster_that_is_missing_is_said_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentLacks, match=r"no Ray cluster at judge.ray_address = 127.0.0.1:1: .*refused"):
        open_judge(JudgeSettings(executor="ray", ray_address="127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("reward.ray_judge", "reward.ray_nodes"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(EnvironmentLacks, match=r"pip install -e '.*\[ray\]'"):
        open_judge(JudgeSettings(executor="ray", ray_address="127.0.0.1:1"))


def test_verdicts_and_outputs_are_those_of_the_judge_on_this_machine(judge: Executor) -> None:
    corpus = mixed_corpus()
    with Judge(JudgeSettings(), workers=2) as here:
        expected = [without_times(each) for each in here.judge(corpus, stop_at_first_failure=True)]
        assert [without_times(each) for each in judge.judge(corpus, stop_at_first_failure=True)] == expected
        assert [*map(outputs, judge.execute(corpus))] == [*map(outputs, here.execute(corpus))]
    assert len({verdict for _, verdict, *_ in expected}) == 7
    assert (judge.tier, judge.workers, judge.is_alive) == (here.tier, 2, True)


def test_both_nodes_work(judge: Executor) -> None:
    assert len(list(judge.judge(numbered(20, 0.1), stop_at_first_failure=True))) == 20
    zygotes = [process for process in processes_of_judges() if "zygote" in " ".join(process.cmdline())]
    actors = {parent.pid for zygote in zygotes for parent in zygote.parents() if "NodeJudge" in parent.cmdline()[0]}
    assert len(actors) == 2, "an actor starts its first zygote with its first program"


def test_submissions_are_consumed_as_results_are_taken(judge: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward.executor.FINISHED_PER_WORKER", 40)
    consumed = itertools.count()
    endless = (program("print(1)", ("", "1"), name=str(next(consumed))) for _ in itertools.count())
    judgements = judge.judge(endless, stop_at_first_failure=True)
    first = list(itertools.islice(judgements, 30))
    judgements.close()  # type: ignore[attr-defined]
    assert [judgement.id for judgement in first] == [str(index) for index in range(30)]
    assert next(consumed) <= 30 + 40 * judge.workers + 1


def test_what_a_deadline_cuts_off_is_an_infrastructure_failure_and_cancelling_ends_programs(judge: Executor) -> None:
    sleeping = [program("import time\ntime.sleep(3600)", ("", ""), seconds=3600.0)] * 6

    async def calls() -> tuple[list[Judgement], list[Judgement]]:
        quick = program(SUM, ("1 2\n", "3"), name="quick")
        late = await judge.judge_async([quick, *sleeping], stop_at_first_failure=True, deadline_seconds=1.5)
        abandoned = asyncio.create_task(judge.judge_async(sleeping, stop_at_first_failure=True))
        await asyncio.sleep(0.5)
        abandoned.cancel()
        return late, await judge.judge_async([quick] * 20, stop_at_first_failure=True)

    late, after = asyncio.run(calls())
    assert [judgement.verdict for judgement in late] == [Verdict.AC] + [Verdict.IE] * 6
    assert [judgement.verdict for judgement in after] == [Verdict.AC] * 20


def test_a_submission_that_cannot_be_judged_is_refused_before_it_travels(judge: Executor) -> None:
    with pytest.raises(InputError, match="test 1 has no expected output"):
        list(judge.judge([Submission("x", SUM, ("1 2", "3 4"), ("3", None))], stop_at_first_failure=True))


def test_an_actor_that_is_killed_is_started_anew_and_no_verdict_is_lost(judge: Executor) -> None:
    judgements = []
    for judgement in judge.judge(numbered(60, 0.02), stop_at_first_failure=True):
        judgements.append(judgement)
        if len(judgements) == 10:
            next(process for process in processes_of_judges() if "zygote" not in " ".join(process.cmdline())).kill()
    assert [judgement.id for judgement in judgements] == [str(index) for index in range(60)]
    assert {judgement.verdict for judgement in judgements} == {Verdict.AC}
    assert soon(lambda: judge.workers == 2)


def test_a_node_that_joins_is_used_and_when_it_is_killed_in_mid_run_no_verdict_is_lost_or_doubled(
    cluster: Any, judge: Executor
) -> None:
    third = cluster.add_node(**SMALL_NODE)
    assert soon(lambda: judge.workers == 3)
    judgements = []
    for judgement in judge.judge(numbered(90, 0.02), stop_at_first_failure=True):
        judgements.append(judgement)
        if len(judgements) == 20:
            cluster.remove_node(third, allow_graceful=False)
    assert [judgement.id for judgement in judgements] == [str(index) for index in range(90)]
    assert {judgement.verdict for judgement in judgements} == {Verdict.AC}
    assert soon(lambda: judge.workers == 2) and judge.is_alive


@pytest.mark.slow
def test_a_node_that_leaves_with_nothing_in_hand_is_not_counted_any_more(cluster: Any, judge: Executor) -> None:
    third = cluster.add_node(**SMALL_NODE)
    assert soon(lambda: judge.workers == 3)
    cluster.remove_node(third, allow_graceful=False)
    assert soon(lambda: judge.workers == 2) and judge.is_alive


def test_close_ends_running_programs_and_leaves_no_process(judge: Executor) -> None:
    hanging = [program("while True: pass", ("", ""), seconds=60)] * 4
    failures: list[BaseException] = []

    def take() -> None:
        try:
            list(judge.judge(hanging, stop_at_first_failure=True))
        except InfrastructureError as error:
            failures.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    assert soon(lambda: len(processes_of_judges()) > 4)
    judge.close()
    thread.join(5)
    assert len(failures) == 1
    assert soon(lambda: processes_of_judges() == [], 5), processes_of_judges()
    assert not judge.is_alive
    with pytest.raises(InfrastructureError, match="closed"):
        list(judge.judge([program(SUM, ("1 2", "3"))], stop_at_first_failure=True))


def test_without_a_node_left_judging_ends_with_the_reason(cluster: Any) -> None:
    with (
        open_judge(JudgeSettings(executor="ray", ray_address=cluster.address)) as judge,
        pytest.raises(InfrastructureError, match="is left to judge on.*has left the cluster"),
    ):
        for count, _ in enumerate(judge.judge(numbered(200, 0.02), stop_at_first_failure=True)):
            if count == 10:
                for node in list(cluster.worker_nodes):
                    cluster.remove_node(node, allow_graceful=False)
    assert not judge.is_alive
