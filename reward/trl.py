"""The reward of a rollout as TRL's GRPOTrainer asks for it: its program, judged on the tests of its problem.

An infrastructure failure is never a low reward: such a rollout gets None, which TRL leaves out of its group, and a
run in which too many are left out stops. Every term of the reward belongs into this one callable: of several, TRL adds
up those that are not None.
"""

import ast
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, assert_never

from reward.config import OverlongSettings, RewardSettings
from reward.executor import Executor
from reward.extract import extract_code, syntax_tree
from reward.submission import Submission
from reward.test_table import ProblemTests, TestTable
from reward.verdict import Judgement, TestResult, Verdict
from xcoder_core.errors import InfrastructureError
from xcoder_core.seeds import derive_seed

if TYPE_CHECKING:
    from transformers import TrainerState

NO_CODE = "no code"
# The excluded share is judged once this many rollouts were seen: before that one failure would be a large share.
ROLLOUTS_BEFORE_BREAKER = 64
FEWEST_NAMED = 2
"""Tests that a special-cased program must name: one alone is as often a base case."""


@dataclass(frozen=True)
class Worth:
    """What the judge says of one rollout, and the reward that follows; None where the judge could not tell.

    With `left_out` its reward counts nowhere: the recipe leaves truncated rollouts out of their groups.
    """

    reward: float | None
    verdict: str
    tests_passed: int
    cpu_seconds: float
    first_failing_test: int | None
    names_its_tests: bool
    left_out: bool = False


@dataclass(eq=False)
class JudgedReward:
    """An asynchronous reward function with the judge, the tests and the counters that it needs.

    `tests` are those of each problem, by the column `problem_id` of the dataset. `text_of` reads a completion's token
    ids where TRL's text does not say all: whether the prompt opened the model's reasoning, and where it was closed.
    `length_limit` says how many tokens a completion may have, by optimiser step, and on held-out tasks for None;
    `settings.overlong` needs it.
    """

    judge: Executor
    tests: Mapping[str, ProblemTests] | TestTable
    settings: RewardSettings
    _: KW_ONLY
    stop_tokens: frozenset[int]
    maximum_excluded_share: float = 0.05
    seed: int = 0
    text_of: Callable[[Sequence[int]], str] | None = None
    length_limit: Callable[[int | None], int] | None = None
    seen: int = 0
    excluded: int = 0
    seconds: float = 0.0
    """What judging has taken since it was last logged."""
    __name__ = "judged"  # what TRL calls it in its metrics

    async def __call__(
        self,
        *,
        completions: Sequence[Sequence[Mapping[str, str]]],
        completion_ids: Sequence[Sequence[int]],
        problem_id: Sequence[str],
        trainer_state: "TrainerState",
        log_extra: Callable[[str, Sequence[object]], None],
        log_metric: Callable[[str, float], None],
        held_out: Sequence[bool] = (),
        worth: Sequence[Worth] | None = None,
        **_: object,
    ) -> list[float | None]:
        """One reward per completion, in their order; None where the judge could not tell, or the recipe says so.

        What was judged before, while rollouts were collected, comes along as `worth`. `held_out` is a column of the
        held-out tasks alone.
        """
        if worth is None:
            texts = [completion[0]["content"] for completion in completions]
            step = None if held_out else trainer_state.global_step
            worth = await self.worth_of(problem_id, completion_ids, step, texts)
        for column in ("verdict", "tests_passed", "cpu_seconds", "first_failing_test"):
            log_extra(column, [getattr(one, column) for one in worth])
        log_extra("problem_id", list(problem_id))
        log_extra("names_its_tests", [one.names_its_tests for one in worth])
        shares = Counter(one.verdict for one in worth)
        for verdict in (NO_CODE, *(verdict.value for verdict in Verdict)):
            log_metric(f"verdicts/{verdict}", shares[verdict] / len(worth))
        log_metric("judge/seconds", self.seconds)
        self.seconds = 0.0
        rewards = [one.reward for one in worth]
        log_metric("judge/excluded", rewards.count(None) / len(worth))
        log_metric("hacking/names_its_tests", sum(one.names_its_tests for one in worth) / len(worth))
        if self.settings.shuffle_within_batch:
            random.Random(derive_seed(self.seed, "reward", "shuffle", trainer_state.global_step)).shuffle(rewards)
        # What is left out is no failure of the judge, so it is not among the excluded.
        return [None if one.left_out else reward for one, reward in zip(worth, rewards, strict=True)]

    async def worth_of(
        self,
        problem_ids: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        step: int | None,
        texts: Sequence[str] = (),
    ) -> list[Worth]:
        """What each completion is worth, in their order; `step` is the optimiser step that samples, None for held-out
        tasks. `texts` are needed where there is no `text_of`.

        Raises InfrastructureError where too many could not be judged.
        """
        started = time.monotonic()
        programs = list(map(extract_code, texts if self.text_of is None else map(self.text_of, completion_ids)))
        judgements = await self._judge(list(zip(problem_ids, programs, strict=True)))
        truncated = [not tokens or tokens[-1] not in self.stop_tokens for tokens in completion_ids]
        terms = [self.settings.truncated if is_truncated else 0.0 for is_truncated in truncated]
        if self.settings.overlong is not None:
            assert self.length_limit is not None, "settings.overlong needs length_limit"
            limit, overlong = self.length_limit(step), self.settings.overlong
            lost = (overlong_penalty(len(tokens), limit, overlong) for tokens in completion_ids)
            terms = [term - penalty for term, penalty in zip(terms, lost, strict=True)]
        worths = (reward_of(judgement, self.settings) for judgement in judgements)
        rewards = [None if worth is None else worth + term for worth, term in zip(worths, terms, strict=True)]
        found = [
            Worth(
                reward=reward,
                verdict=NO_CODE if judgement is None else judgement.verdict.value,
                tests_passed=0 if judgement is None else judgement.passed,
                cpu_seconds=0.0 if judgement is None else sum(test.cpu_seconds for test in judgement.tests),
                first_failing_test=None if judgement is None else first_failing_test(judgement),
                names_its_tests=self._is_special_cased(name, code, judgement),
                left_out=self.settings.leave_out_truncated and step is not None and is_truncated,
            )
            for name, code, judgement, reward, is_truncated in zip(
                problem_ids, programs, judgements, rewards, truncated, strict=True
            )
        ]
        self.seconds += time.monotonic() - started
        self._count(rewards)
        return found

    async def _judge(self, asked: list[tuple[str, str | None]]) -> list[Judgement | None]:
        """A judgement per rollout, None without code. The same program for the same problem is judged once."""
        distinct = {pair: None for pair in asked if pair[1] is not None}
        submissions = [
            submission_for(str(number), problem_id, code or "", self.tests)
            for number, (problem_id, code) in enumerate(distinct)
        ]
        judged = await self.judge.judge_async(
            submissions,
            stop_at_first_failure=self.settings.kind == "all",
            deadline_seconds=self.settings.deadline_seconds,
        )
        by_pair = dict(zip(distinct, judged, strict=True))
        return [by_pair.get(pair) for pair in asked]

    def _is_special_cased(self, problem_id: str, code: str | None, judgement: Judgement | None) -> bool:
        if code is None or judgement is None or not judgement.passed:
            return False
        tests = self.tests[problem_id]
        return names_its_tests(code, tests.inputs, tests.expected, judgement.tests)

    def _count(self, rewards: Sequence[float | None]) -> None:
        self.seen += len(rewards)
        self.excluded += sum(reward is None for reward in rewards)
        share = self.excluded / self.seen
        if self.seen >= ROLLOUTS_BEFORE_BREAKER and share > self.maximum_excluded_share:
            raise InfrastructureError(
                f"{self.excluded} of {self.seen} rollouts ({share:.1%}) have no reward because judging failed; "
                f"grpo.maximum_excluded_share allows {self.maximum_excluded_share:.1%}. Training on what is left would "
                "be training on noise. Look at the judge (`xcoder doctor`), then run the same command: it continues."
            )


def submission_for(name: str, problem_id: str, code: str, tests: Mapping[str, ProblemTests] | TestTable) -> Submission:
    """A program with the tests of its problem."""
    own = tests[problem_id]
    return Submission(
        id=name,
        code=code,
        inputs=own.inputs,
        expected=own.expected,
        function_name=own.function_name,
        limits=own.limits,
        checker=own.checker,
    )


def reward_of(judgement: Judgement | None, settings: RewardSettings) -> float | None:
    """The reward before length terms; X-Coder's is equation 6 of arXiv 2601.06953. None: nothing is known."""
    if judgement is None or judgement.verdict is Verdict.CE:
        return (-2.0 if settings.kind == "paper" else 0.0) + settings.no_code
    if judgement.is_infrastructure_failure:
        return None
    match settings.kind:
        case "paper":
            return 5.0 * judgement.passed / judgement.total
        case "fraction":
            return judgement.passed / judgement.total
        case "all":
            return float(judgement.verdict is Verdict.AC)
        case unknown:
            assert_never(unknown)


def overlong_penalty(tokens: int, limit: int, overlong: OverlongSettings) -> float:
    """What a completion of so many tokens loses: -`penalty` times equation 13 of DAPO (arXiv 2503.14476), in which
    L_max is `limit` and L_cache is `overlong.tokens`."""
    return overlong.penalty * min(1.0, max(0.0, (tokens - (limit - overlong.tokens)) / overlong.tokens))


def first_failing_test(judgement: Judgement) -> int | None:
    """Index of the first test that was not passed; None when all were, or none ran."""
    return next((index for index, test in enumerate(judgement.tests) if test.verdict is not Verdict.AC), None)


def names_its_tests(
    code: str, inputs: Sequence[str], expected: Sequence[str | None], results: Sequence[TestResult]
) -> bool:
    """Whether at least two of the passed tests, and half of them, stand in the program as literals, as in
    `if s == "3 4": print(7)`: a sign of reward hacking.

    A test stands there when its whole input, or every word of it, and its whole expected output are literals of the
    program. A sign, not a proof: a table of a few small cases looks alike, so it is counted and never punished.
    """
    literals = _literals(code)
    passed = [n for n, result in enumerate(results) if result.verdict is Verdict.AC]
    named = 0
    for n in passed:
        words = set(inputs[n].split())
        has_input = inputs[n].strip() in literals or (words and words <= literals)
        named += bool(has_input and (expected[n] or "").strip() in literals)
    return named >= FEWEST_NAMED and 2 * named >= len(passed)


def _literals(code: str) -> set[str]:
    """Every constant of a program as text, without white space around it and none that is blank."""
    tree = syntax_tree(code)
    texts = set()
    for node in [] if tree is None else ast.walk(tree):
        if isinstance(node, ast.Constant):
            with suppress(ValueError):  # a hexadecimal number of more digits than Python writes
                texts.add(str(node.value).strip())
    return texts - {""}
