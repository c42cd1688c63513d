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
        **_: object,
    ) -> list[float | None]:
        """One reward per completion, in their order; None where the judge could not tell, or the recipe says so.

        `held_out` is a column of the held-out tasks alone.
        """
        started = time.monotonic()
        texts = [c[0]["content"] for c in completions] if self.text_of is None else map(self.text_of, completion_ids)
        programs = list(map(extract_code, texts))
        judgements = await self._judge(list(zip(problem_id, programs, strict=True)))
        truncated = [not tokens or tokens[-1] not in self.stop_tokens for tokens in completion_ids]
        terms = [self.settings.truncated if is_truncated else 0.0 for is_truncated in truncated]
        if self.settings.overlong is not None:
            assert self.length_limit is not None, "settings.overlong needs length_limit"
            limit, overlong = self.length_limit(None if held_out else trainer_state.global_step), self.settings.overlong
            lost = (overlong_penalty(len(tokens), limit, overlong) for tokens in completion_ids)
            terms = [term - penalty for term, penalty in zip(terms, lost, strict=True)]
        worths = (reward_of(judgement, self.settings) for judgement in judgements)
        rewards = [None if worth is None else worth + term for worth, term in zip(worths, terms, strict=True)]
        self._log(judgements, rewards, time.monotonic() - started, log_extra, log_metric)
        log_extra("problem_id", list(problem_id))
        special = list(map(self._is_special_cased, problem_id, programs, judgements))
        log_extra("names_its_tests", special)
        log_metric("hacking/names_its_tests", sum(special) / len(special))
        self._count(rewards)
        if self.settings.shuffle_within_batch:
            random.Random(derive_seed(self.seed, "reward", "shuffle", trainer_state.global_step)).shuffle(rewards)
        if self.settings.leave_out_truncated and not held_out:  # no failure of the judge, so not among the excluded
            rewards = [None if left_out else worth for worth, left_out in zip(rewards, truncated, strict=True)]
        return rewards

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

    def _log(
        self,
        judgements: Sequence[Judgement | None],
        rewards: Sequence[float | None],
        seconds: float,
        log_extra: Callable[[str, Sequence[object]], None],
        log_metric: Callable[[str, float], None],
    ) -> None:
        verdicts = [NO_CODE if judgement is None else judgement.verdict.value for judgement in judgements]
        log_extra("verdict", verdicts)
        log_extra("tests_passed", [0 if j is None else j.passed for j in judgements])
        log_extra("cpu_seconds", [0.0 if j is None else sum(t.cpu_seconds for t in j.tests) for j in judgements])
        log_extra("first_failing_test", [None if j is None else first_failing_test(j) for j in judgements])
        shares = Counter(verdicts)
        for verdict in (NO_CODE, *(verdict.value for verdict in Verdict)):
            log_metric(f"verdicts/{verdict}", shares[verdict] / len(verdicts))
        log_metric("judge/seconds", seconds)
        log_metric("judge/excluded", sum(reward is None for reward in rewards) / len(rewards))

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
