"""One trial of dual verification: candidates from an error model, inputs of which some are broken, one setting.

Everything goes through `synth.voting.verify`, as in synthesis. Validators and brute-force solutions err as well, at the
rates that stand here; they are assumptions, not measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_model import CRASHED, Crowd, ErrorModel, Luck, draw_crowd, outputs_of
from benchmarks.known_tasks import BROKEN_INPUTS, KnownTasks
from synth.annotators import estimate_truth
from synth.config import VerificationSettings
from synth.voting import Election, verify

TEST_INPUTS = 15
"""Inputs of a task in the paper's synthesis."""

BROKEN_SHARE = 0.05
"""Share of generated inputs that break a promise of the statement. They have no true output: any label is wrong."""

BROKEN_CRASH = 0.2
"""Chance that a program crashes on such an input. Otherwise it takes it in one of two ways, by chance of the input."""

VALIDATOR_CATCHES = 0.9
VALIDATOR_REFUSES = 0.02
VALIDATOR_FAULTY = 0.05
"""A validator refuses 90 % of broken and 2 % of valid inputs; on 5 % of tasks it is faulty and accepts everything."""

BRUTE_FORCE_BONUS = 1.0
BRUTE_FORCE_DIFFICULTY = 0.5
"""A brute-force solution is right with the candidates' logit plus 1, where half of what makes this task harder or
easier than others of its depth counts: it needs no algorithm, but it reads the same statement. It can run on the
smaller half of the inputs. Where it errs it does as candidates do."""


@dataclass(frozen=True)
class Ballots:
    """The votes on every task. `votes` is [tasks, candidates, inputs] with `CRASHED` where there is none.

    `truth` is [tasks, inputs]: 0 on valid inputs, -2 on broken ones, where nothing is true. `brute_force` is
    [tasks, inputs], `accepted` tells what the validator let through. `right` is [tasks, candidates]: right on every
    valid input of the task, those too that are no tests.
    """

    votes: NDArray[np.int64]
    truth: NDArray[np.int64]
    sizes: NDArray[np.int64]
    accepted: NDArray[np.bool_]
    brute_force: NDArray[np.int64]
    right: NDArray[np.bool_]


def draw_ballots(model: ErrorModel, tasks: KnownTasks, luck: Luck, seed: int) -> Ballots:
    """Candidates on 15 inputs per task, some of them broken, with what a validator and a brute force say of them."""
    rng = np.random.default_rng(seed)
    count = len(tasks)
    crowd = draw_crowd(model, tasks, luck)
    brute_force = _draw_brute_force(model, tasks, crowd, luck, rng)
    programs = np.concatenate([crowd.programs, brute_force[:, np.newaxis]], axis=1)
    ran = programs != CRASHED
    outputs = outputs_of(crowd, tasks)
    slow = tasks.outputs[np.arange(count), np.maximum(brute_force, 0)]
    slow = np.where(ran[:, -1:], slow, CRASHED)
    votes = np.concatenate([outputs, slow[:, np.newaxis]], axis=1)[:, :, :TEST_INPUTS]
    sizes = tasks.sizes[:, :TEST_INPUTS].copy()

    is_broken = rng.random((count, TEST_INPUTS)) < BROKEN_SHARE
    is_broken &= is_broken.cumsum(axis=1) <= BROKEN_INPUTS
    lenient = rng.random((count, TEST_INPUTS))
    for task, place in np.argwhere(is_broken):
        which = is_broken[task, : place + 1].sum() - 1
        reading = (rng.random(programs.shape[1]) < lenient[task, place]).astype(int)
        said = tasks.broken[task, np.maximum(programs[task], 0), which, reading]
        fails = ~ran[task] | (rng.random(programs.shape[1]) < BROKEN_CRASH)
        votes[task, :, place] = np.where(fails, CRASHED, said)
        sizes[task, place] = tasks.broken_sizes[task, which]

    faulty = rng.random(count)[:, np.newaxis] < VALIDATOR_FAULTY
    refused = rng.random((count, TEST_INPUTS)) < np.where(is_broken, VALIDATOR_CATCHES, VALIDATOR_REFUSES)
    is_small = sizes <= np.median(sizes, axis=1)[:, np.newaxis]
    return Ballots(
        votes=votes[:, :-1],
        truth=np.where(is_broken, -2, 0),
        sizes=sizes,
        accepted=faulty | ~refused,
        brute_force=np.where(is_small, votes[:, -1], CRASHED),
        right=(outputs == 0).all(axis=2),
    )


def _draw_brute_force(
    model: ErrorModel, tasks: KnownTasks, crowd: Crowd, luck: Luck, rng: np.random.Generator
) -> NDArray[np.int64]:
    expected = model.skill - model.slope * (tasks.depths - 3.5)
    logit = expected + BRUTE_FORCE_DIFFICULTY * (crowd.skill - expected) + BRUTE_FORCE_BONUS
    right = rng.random(len(tasks)) < 1 / (1 + np.exp(-logit))
    own = 1 + (rng.random(len(tasks)) * (tasks.programs - 1)).astype(np.int64)
    mistaken = np.where(rng.random(len(tasks)) < model.common, crowd.common_mistake, own)
    mistaken = np.where(rng.random(len(tasks)) < model.crashed, CRASHED, mistaken)
    return np.where(right, np.where(crowd.misread, crowd.common_mistake, 0), mistaken)


@dataclass(frozen=True)
class Trial:
    """What one setting did on every task, in arrays over tasks.

    `kept`, `golden_right` (False where no golden solution was elected), `agreement` on the task, the posterior by EM
    that the golden solution passes all tests (log; only where asked), labels and right labels.
    """

    kept: NDArray[np.bool_]
    golden_right: NDArray[np.bool_]
    agreement: NDArray[np.float64]
    posterior: NDArray[np.float64]
    labels: NDArray[np.int64]
    labels_right: NDArray[np.int64]

    @property
    def tasks(self) -> int:
        return len(self.kept)


def run_trial(
    ballots: Ballots,
    candidates: int,
    settings: VerificationSettings,
    validator: bool = False,
    brute_force: bool = False,
    with_posterior: bool = False,
) -> Trial:
    """Decide every task with its first `candidates` candidates."""
    rows = []
    for task in range(len(ballots.votes)):
        places = np.flatnonzero(ballots.accepted[task]) if validator else np.arange(TEST_INPUTS)
        votes = [_written(row) for row in ballots.votes[task, :candidates][:, places]]
        slow = _written(ballots.brute_force[task, places]) if brute_force else None
        election = verify(votes, candidates, ballots.sizes[task, places].tolist(), settings, task, slow)
        truth = ballots.truth[task, places]
        right = sum(label.vote == str(truth[label.input]) for label in election.labels)
        golden = election.golden
        golden_right = golden is not None and bool(ballots.right[task, golden])
        posterior = _golden_posterior(votes, election) if with_posterior else 0.0
        rows.append((election.reason is None, golden_right, election.agreement, posterior, len(election.labels), right))
    kept, golden_rights, agreement, posteriors, labels, rights = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Trial(kept, golden_rights, agreement, posteriors, labels, rights)


def _golden_posterior(votes: Sequence[Sequence[str | None]], election: Election) -> float:
    """Log of the posterior that the golden solution is right on all inputs, if candidates were independent."""
    if election.golden is None:
        return -np.inf
    row = votes[election.golden]
    posteriors = estimate_truth(votes).posteriors
    chances = [posterior.get(vote or "", 0.0) for posterior, vote in zip(posteriors, row, strict=True)]
    return float(sum(np.log(max(chance, 1e-12)) for chance in chances))


def _written(row: NDArray[np.int64]) -> list[str | None]:
    return [None if vote == CRASHED else str(vote) for vote in row.tolist()]


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval, half as wide as `half_width` says; the interval counts whole tasks."""

    value: float
    half_width: float


def rate(hits: NDArray[np.generic], of: NDArray[np.generic]) -> Rate:
    """Sum of `hits` over sum of `of`, both by task, with the interval of a ratio estimator."""
    total = float(of.sum())
    if total == 0:
        return Rate(float("nan"), float("nan"))
    value = float(hits.sum()) / total
    deviation = hits.astype(float) - value * of.astype(float)
    return Rate(value, 1.96 * float(np.sqrt((deviation**2).sum())) / total)


def best_share(trial: Trial, share: float, order: NDArray[np.float64], seed: int = 0) -> Rate:
    """Golden full-pass rate of the kept tasks that come first by `order`, `share` of all tasks in number.

    Equal places are broken at random. Not a number where fewer tasks are kept.
    """
    wanted = round(share * trial.tasks)
    if wanted == 0 or wanted > trial.kept.sum():
        return Rate(float("nan"), float("nan"))
    shuffled = np.random.default_rng(seed).random(trial.tasks)
    ranked = np.lexsort((shuffled, -order, ~trial.kept))[:wanted]
    return rate(trial.golden_right[ranked], np.ones(wanted))
