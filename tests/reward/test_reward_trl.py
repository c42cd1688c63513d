"""Credit: each rollout gets the reward of its own program, and a fault of the judge is never a low reward."""

import asyncio
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from trl.rewards import get_soft_overlong_punishment

from reward.config import JudgeSettings, OverlongSettings, RewardSettings
from reward.judge import Judge
from reward.test_table import TestTable
from reward.trl import NO_CODE, ROLLOUTS_BEFORE_BREAKER, JudgedReward, overlong_penalty
from tests.chat_templates import PROMPT, cases
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.chat import completion_text, opened_reasoning, prompt_token_ids
from xcoder_core.problem import Limits, Problem, TestCase
from xcoder_core.records import write_records
from xcoder_core.stage import SynthLayout

STOP = 9
TESTS = 4


def fenced(code: str) -> str:
    return f"Here it is.\n```python\n{code}\n```"


# (problem, completion, tests passed of 4, verdict)
ROLLOUTS = [
    ("sum", fenced("print(sum(map(int, input().split())))"), 4, "AC"),
    ("sum", fenced("a, b = map(int, input().split())\nprint(a + b)"), 4, "AC"),
    ("sum", fenced("print(3)"), 1, "WA"),
    ("sum", fenced("a, b = map(int, input().split())\nprint(a + b if a < 4 else 0)"), 2, "WA"),
    ("sum", fenced("print(1 / 0)"), 0, "RE"),
    ("sum", "I do not know.", 0, NO_CODE),
    ("sum", fenced("print("), 0, "CE"),
    ("sum", fenced("while True: pass"), 0, "TLE"),
    ("double", fenced("class Solution:\n    def double(self, x):\n        return 2 * x"), 4, "AC"),
    ("double", fenced("class Solution:\n    def double(self, x):\n        return 2"), 1, "WA"),
    ("double", fenced("print(sum(map(int, input().split())))"), 0, "RE"),
    ("double", "```python\nunclosed", 0, NO_CODE),
    ("names", fenced("print('b a')"), 4, "AC"),
    ("names", fenced("print('a', 'c')"), 0, "WA"),
]


def worth(kind: str, passed: int, verdict: str) -> float:
    if kind == "paper":
        return -2.0 if verdict in (NO_CODE, "CE") else 5.0 * passed / TESTS
    return passed / TESTS if kind == "fraction" else float(verdict == "AC")


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> TestTable:
    folder = tmp_path_factory.mktemp("synth")
    layout = SynthLayout(folder)
    limits = Limits(0.2, 256)
    problems = [
        Problem("sum", "Add.", "codeforces", "stdin", limits=limits),
        Problem("double", "Double.", "leetcode", "function", "double", "class Solution: ...", limits=limits),
        Problem("names", "In any order.", "codeforces", "stdin", limits=limits, checker="unordered_tokens"),
    ]
    cases = [TestCase("sum", n, f"{2 * n + 1} {n + 2}\n", f"{3 * n + 3}\n") for n in range(TESTS)]
    cases += [TestCase("double", n, f"{n + 1}", f"{2 * n + 2}") for n in range(TESTS)]
    cases += [TestCase("names", n, "", "a b") for n in range(TESTS)]
    write_records(layout.problems, Problem, problems, ("problem_id",))
    write_records(layout.tests, TestCase, cases, ("problem_id", "index"))
    return TestTable(layout, folder / "tests.arrow", at_most=None, seed=0)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(), workers=2) as judge:
        yield judge


class Rollouts:
    """Calls the reward as TRL does: keywords only, from a coroutine, with its loggers; keeps what was logged."""

    def __init__(self, reward: JudgedReward) -> None:
        self.reward = reward
        self.columns: dict[str, list[Any]] = {}
        self.metrics: dict[str, float] = {}

    async def score(
        self, rollouts: list[tuple[str, str]], *, ended: list[bool] | None = None, step: int = 0, **more: Any
    ) -> list[float | None]:
        ids = [[5, STOP if end else 6] for end in ended or [True] * len(rollouts)]
        return await self.reward(
            prompts=[[{"role": "user", "content": name}] for name, _ in rollouts],
            completions=[[{"role": "assistant", "content": text}] for _, text in rollouts],
            completion_ids=more.pop("completion_ids", ids),
            problem_id=[name for name, _ in rollouts],
            trainer_state=SimpleNamespace(global_step=step),
            log_extra=self.columns.__setitem__,
            log_metric=self.metrics.__setitem__,
            **more,
        )


def rollouts_with(judge: Judge, tests: TestTable, share: float = 0.05, **settings: Any) -> Rollouts:
    limit = settings.pop("limit", {})
    reward = JudgedReward(
        judge,
        tests,
        RewardSettings(**settings),
        stop_tokens=frozenset({STOP}),
        maximum_excluded_share=share,
        seed=3,
        **limit,
    )
    return Rollouts(reward)


@pytest.mark.parametrize("kind", ["paper", "fraction", "all"])
def test_every_rollout_gets_the_reward_of_its_own_program(kind: str, judge: Judge, tests: TestTable) -> None:
    asked = random.Random(kind).sample(ROLLOUTS * 2, len(ROLLOUTS) * 2)  # each program twice, all mixed
    rollouts = rollouts_with(judge, tests, kind=kind)
    rewards = asyncio.run(rollouts.score([(name, text) for name, text, _, _ in asked]))
    assert rewards == [worth(kind, passed, verdict) for _, _, passed, verdict in asked]
    assert rollouts.columns["verdict"] == [verdict for _, _, _, verdict in asked]
    shares = Counter(verdict for _, _, _, verdict in asked)
    for verdict in (NO_CODE, "AC", "WA", "RE", "CE", "TLE", "MLE", "OLE", "IE"):
        assert rollouts.metrics[f"verdicts/{verdict}"] == shares[verdict] / len(asked)
    assert rollouts.metrics["judge/excluded"] == 0


def test_a_rollout_shows_how_far_it_came(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests)
    asyncio.run(rollouts.score([(name, text) for name, text, _, _ in ROLLOUTS]))
    assert rollouts.columns["tests_passed"] == [passed for _, _, passed, _ in ROLLOUTS]
    assert rollouts.columns["first_failing_test"][:8] == [None, None, 1, 2, 0, None, None, 0]
    assert rollouts.columns["cpu_seconds"][7] >= 0.2  # the endless loop used its limit
    assert rollouts.columns["cpu_seconds"][5] == 0.0  # nothing ran


def test_a_truncated_rollout_pays_on_top_of_what_its_program_earns(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests, kind="all", truncated=-0.25)
    right = ("sum", ROLLOUTS[0][1])
    rewards = asyncio.run(rollouts.score([right, right, ("sum", "no code")], ended=[True, False, False]))
    assert rewards == [1.0, 0.75, -0.25]


def test_the_penalty_near_the_limit_is_equation_13_of_dapo() -> None:
    """With the paper's own numbers: L_max 20,480 and L_cache 4,096."""
    overlong = OverlongSettings(tokens=4096)
    for tokens, expected in ((1, 0), (16384, 0), (16385, 1 / 4096), (18432, 0.5), (20480, 1), (20481, 1)):
        assert overlong_penalty(tokens, 20480, overlong) == expected
    assert overlong_penalty(18432, 20480, OverlongSettings(tokens=4096, penalty=3.0)) == 1.5
    theirs = get_soft_overlong_punishment(20480, 4096)
    lengths = random.Random(0).sample(range(1, 20481), 200)
    assert theirs([[0] * length for length in lengths]) == [-overlong_penalty(one, 20480, overlong) for one in lengths]


def test_a_completion_near_the_limit_of_its_step_pays_whether_it_ends_or_not(judge: Judge, tests: TestTable) -> None:
    limits = {None: 200, 0: 20, 7: 40}
    rollouts = rollouts_with(
        judge,
        tests,
        kind="all",
        truncated=-0.25,
        overlong={"tokens": 10, "penalty": 0.5},
        limit={"length_limit": limits.__getitem__},
    )
    asked = [("sum", ROLLOUTS[0][1])] * 4 + [("sum", "no code")]
    ids = [[5] * (length - 1) + [STOP] for length in (10, 14, 20)] + [[5] * 20, [5] * 14 + [STOP]]
    rewards = [asyncio.run(rollouts.score(asked, completion_ids=ids, step=step)) for step in (0, 7)]
    assert rewards == [[1.0, 0.8, 0.5, 0.25, -0.25], [1.0, 1.0, 1.0, 0.75, 0.0]]
    held_out = asyncio.run(rollouts.score(asked, completion_ids=ids, held_out=[True] * 5))
    assert held_out == [1.0, 1.0, 1.0, 0.75, 0.0]


def test_a_penalty_without_a_limit_is_refused(judge: Judge, tests: TestTable) -> None:
    with pytest.raises(AssertionError, match="settings.overlong needs length_limit"):
        asyncio.run(rollouts_with(judge, tests, overlong={"tokens": 10}).score([("sum", "no code")]))


def test_a_truncated_rollout_that_is_left_out_is_no_failure_of_the_judge(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests, share=0.0, kind="all", leave_out_truncated=True)
    asked, ended = [("sum", ROLLOUTS[0][1])] * 2 * ROLLOUTS_BEFORE_BREAKER, [True, False] * ROLLOUTS_BEFORE_BREAKER
    assert asyncio.run(rollouts.score(asked, ended=ended)) == [1.0, None] * ROLLOUTS_BEFORE_BREAKER
    assert rollouts.metrics["judge/excluded"] == 0
    assert rollouts.metrics["verdicts/AC"] == 1
    held_out = asyncio.run(rollouts.score(asked, ended=ended, held_out=[True] * len(asked)))
    assert held_out == [1.0] * len(asked)


@pytest.mark.parametrize(("kind", "none"), [("paper", -2.5), ("fraction", -0.5), ("all", -0.5)])
def test_a_rollout_without_parsable_code_pays_once_whatever_the_kind(
    kind: str, none: float, judge: Judge, tests: TestTable
) -> None:
    rollouts = rollouts_with(judge, tests, kind=kind, no_code=-0.5)
    asked = [(ROLLOUTS[row][0], ROLLOUTS[row][1]) for row in (0, 4, 5, 6)]  # right, an error, no code, no Python
    rewards = asyncio.run(rollouts.score(asked))
    assert rewards == [worth(kind, 4, "AC"), 0.0, none, none]


def test_a_batch_without_any_code_is_scored(judge: Judge, tests: TestTable) -> None:
    rewards = asyncio.run(rollouts_with(judge, tests).score([("sum", "nothing"), ("double", "nothing")]))
    assert rewards == [-2.0, -2.0]


def test_the_shuffled_control_deals_out_the_same_rewards(judge: Judge, tests: TestTable) -> None:
    fast = [rollout for rollout in ROLLOUTS if rollout[3] != "TLE"]
    asked = [(name, text) for name, text, _, _ in fast]
    own = asyncio.run(rollouts_with(judge, tests).score(asked))
    control = rollouts_with(judge, tests, shuffle_within_batch=True)
    first, again, later = (asyncio.run(control.score(asked, step=step)) for step in (1, 1, 2))
    assert Counter(first) == Counter(later) == Counter(own)
    assert first == again
    assert first != own
    assert first != later
    assert control.columns["verdict"] == [verdict for _, _, _, verdict in fast]  # the record stays true


def test_what_the_deadline_leaves_unjudged_has_no_reward(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests, deadline_seconds=1e-6, truncated=-1.0, kind="fraction")
    rewards = asyncio.run(rollouts.score([("sum", ROLLOUTS[0][1]), ("sum", "no code")], ended=[False, False]))
    assert rewards == [None, -1.0]  # that there is no code is known without judging
    assert rollouts.columns["verdict"] == ["IE", NO_CODE]
    assert rollouts.metrics["judge/excluded"] == 0.5


def test_the_excluded_share_above_its_limit_stops_training_with_the_numbers(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests, deadline_seconds=1e-6, share=0.5)
    few = [("sum", ROLLOUTS[0][1])] * (ROLLOUTS_BEFORE_BREAKER // 2)
    assert asyncio.run(rollouts.score(few)) == [None] * len(few)  # too few yet to call it a share
    with pytest.raises(InfrastructureError, match=r"64 of 64 rollouts \(100.0%\) have no reward.*allows 50.0%"):
        asyncio.run(rollouts.score(few))


def test_an_excluded_share_within_its_limit_goes_on(judge: Judge, tests: TestTable) -> None:
    rollouts = rollouts_with(judge, tests, deadline_seconds=1e-6, share=0.5)
    asked = [("sum", ROLLOUTS[0][1]), ("sum", "no code")] * ROLLOUTS_BEFORE_BREAKER
    assert asyncio.run(rollouts.score(asked)).count(None) == ROLLOUTS_BEFORE_BREAKER


def test_killed_sandboxes_lower_no_reward(tests: TestTable) -> None:
    """Every process below the judge is killed again and again; each reward is its program's own, or None."""
    asked = [("sum", ROLLOUTS[0][1]), ("sum", ROLLOUTS[3][1])] + [
        ("sum", fenced(f"print(sum(map(int, input().split())))  # {n}")) for n in range(40)
    ]
    done = threading.Event()
    killed: list[int] = []

    with Judge(JudgeSettings(), workers=2) as judge:

        def kill() -> None:
            while not done.wait(0.05):
                for child in _children(os.getpid()):
                    os.kill(child, signal.SIGKILL)
                    killed.append(child)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            rewards = asyncio.run(rollouts_with(judge, tests, share=1.0).score(asked))
        finally:
            done.set()
            killer.join()
    assert killed
    expected = [5.0, 2.5, *[5.0] * 40]
    assert all(reward in (None, right) for reward, right in zip(rewards, expected, strict=True))
    assert None in rewards


def test_it_is_called_on_the_event_loop_of_another_thread_as_trl_does(judge: Judge, tests: TestTable) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        rollouts = rollouts_with(judge, tests, kind="all")
        scores = [
            asyncio.run_coroutine_threadsafe(rollouts.score([("sum", ROLLOUTS[0][1]), ("sum", ROLLOUTS[2][1])]), loop)
            for _ in range(3)
        ]
        assert [score.result(60) for score in scores] == [[1.0, 0.0]] * 3
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _children(parent: int) -> list[int]:
    return [process.pid for process in psutil.Process(parent).children()]


def test_a_draft_in_reasoning_that_the_prompt_opened_earns_nothing(judge: Judge, tests: TestTable) -> None:
    """TRL's text of a rollout says nothing of the prompt, so the reward reads its token ids."""
    case = next(case for case in cases() if (case.name, case.thinking) == ("qwen3_5_think", True))
    opened = opened_reasoning(case.tokenizer, prompt_token_ids(case.tokenizer, PROMPT))
    reward = rollouts_with(judge, tests, kind="all").reward
    reward.text_of = partial(completion_text, case.tokenizer, opened)
    program = ROLLOUTS[0][1]
    texts = [f"Perhaps:\n{program}\nor not", f"So.\n</think>\n\n{program}"]
    rewards = asyncio.run(
        reward(
            completions=[[{"role": "assistant", "content": text}] for text in texts],
            completion_ids=[case.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts],
            problem_id=["sum", "sum"],
            trainer_state=SimpleNamespace(global_step=0),
            log_extra=lambda *_: None,
            log_metric=lambda *_: None,
        )
    )
    assert rewards == [0.0, 1.0]
