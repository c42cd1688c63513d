"""How candidate solutions err, and the fit of that model to the figures that X-Coder published.

The published experiment (arXiv 2601.06953 v2, Tables 14 and 17; 20 tests of each of 500 tasks whose true outputs are
known): the label of a test is the plain majority of n candidates, ties broken at random; the golden solution passes
most labels, the first on a tie; nothing is dropped. Its six figures leave the error model open in some directions, so
those are held at stated values, the rest is fitted for each, and the comparison is repeated over all of them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.known_tasks import KnownTasks

CRASHED = -1
"""The program of a candidate that has no output on any input: no code, a crash, or over the time limit."""

CANDIDATES = (4, 8, 16)

PUBLISHED_LABEL_ACCURACY = (0.944, 0.947, 0.951)
PUBLISHED_GOLDEN_FULL_PASS = (0.842, 0.850, 0.858)


@dataclass(frozen=True)
class ErrorModel:
    """A candidate is right with probability p of its task: logit p ~ Normal(skill - slope * (depth - 3.5), spread^2).

    Of the candidates that are not right, `crashed` have no output; of the others `common` make their task's common
    mistake, the rest each draw a mistake of their own. Mistakes that are wrong on few inputs are more likely: a mistake
    that is wrong on the share w of the inputs has weight exp(-subtlety * w). Whatever a candidate computes, with
    probability `slips` it makes a mistake of its own on top, which shows on the inputs where that one errs.

    On the share `misread` of the tasks the statement says something else than was meant: who would be right makes the
    common mistake. Such a task looks like any other, so no vote can find it.
    """

    skill: float
    spread: float
    common: float
    subtlety: float
    slope: float = 0.3
    crashed: float = 0.2
    slips: float = 0.0
    misread: float = 0.0


FITTED = {"skill": (-1.0, 6.0), "spread": (0.3, 8.0), "common": (0.0, 1.0), "subtlety": (-2.0, 12.0)}
"""The parameters that are fitted, with their bounds."""


@dataclass(frozen=True)
class Luck:
    """The random numbers of an experiment, drawn once, so that two error models differ by nothing else."""

    difficulty: NDArray[np.float64]
    misread: NDArray[np.float64]
    right: NDArray[np.float64]
    crashed: NDArray[np.float64]
    common: NDArray[np.float64]
    slips: NDArray[np.float64]
    mistake: NDArray[np.float64]
    common_mistake: NDArray[np.float64]


def draw_luck(tasks: int, candidates: int, programs: int, seed: int) -> Luck:
    """`mistake` is [tasks, candidates, programs] and `common_mistake` [tasks, programs], both of Gumbel noise."""
    rng = np.random.default_rng(seed)
    each = (tasks, candidates)
    return Luck(
        difficulty=rng.standard_normal(tasks),
        misread=rng.random(tasks),
        right=rng.random(each),
        crashed=rng.random(each),
        common=rng.random(each),
        slips=rng.random(each),
        mistake=rng.gumbel(size=(tasks, candidates, programs)).astype(np.float32),
        common_mistake=rng.gumbel(size=(tasks, programs)),
    )


@dataclass(frozen=True)
class Crowd:
    """The candidates that an error model draws. `programs` is [tasks, candidates]: 0 is right, `CRASHED` has no output.

    `slips` is [tasks, candidates]: the program whose mistakes come on top, 0 for none. `skill` is each task's p in
    logits, `common_mistake` each task's common mistake, `misread` where it is what a right reader computes.
    """

    programs: NDArray[np.int64]
    slips: NDArray[np.int64]
    skill: NDArray[np.float64]
    common_mistake: NDArray[np.int64]
    misread: NDArray[np.bool_]


def draw_crowd(model: ErrorModel, tasks: KnownTasks, luck: Luck) -> Crowd:
    """Candidates for every task."""
    wrong_share = (tasks.outputs != 0).mean(axis=2)
    weight = (-model.subtlety * wrong_share).astype(np.float32)
    is_mistake = (np.arange(tasks.outputs.shape[1]) > 0) & (
        np.arange(tasks.outputs.shape[1]) < tasks.programs[:, np.newaxis]
    )
    weight = np.where(is_mistake, weight, -np.inf)
    common_mistake = (weight + luck.common_mistake).argmax(axis=1)
    own_weight = weight.copy()
    own_weight[np.arange(len(tasks)), common_mistake] = -np.inf
    own_weight = np.where((tasks.programs > 2)[:, np.newaxis], own_weight, weight)
    own_mistake = (own_weight[:, np.newaxis, :] + luck.mistake).argmax(axis=2)

    skill = model.skill - model.slope * (tasks.depths - 3.5) + model.spread * luck.difficulty
    misread = luck.misread < model.misread
    right = luck.right < _sigmoid(skill)[:, np.newaxis]
    mistaken = np.where(luck.common < model.common, common_mistake[:, np.newaxis], own_mistake)
    programs = np.where(luck.crashed < model.crashed, CRASHED, mistaken)
    programs = np.where(right, np.where(misread, common_mistake, 0)[:, np.newaxis], programs)
    slips = np.where(luck.slips < model.slips, own_mistake, 0)
    return Crowd(programs, slips, skill, common_mistake, misread)


def outputs_of(crowd: Crowd, tasks: KnownTasks) -> NDArray[np.int8]:
    """[tasks, candidates, inputs]: the stored outputs of the candidates, `CRASHED` where there is none."""
    every = np.arange(len(tasks))[:, np.newaxis]
    found = tasks.outputs[every, np.maximum(crowd.programs, 0)]
    slipped = tasks.outputs[every, crowd.slips]
    found = np.where(slipped != 0, slipped, found)
    return np.where((crowd.programs == CRASHED)[:, :, np.newaxis], np.int8(CRASHED), found)


def published_experiment(votes: NDArray[np.int8], ties: NDArray[np.float32]) -> tuple[float, float]:
    """Label accuracy and golden full-pass rate as they were measured. `ties` is [tasks, inputs, labels] in [0, 1)."""
    labels = majority_labels(votes, ties)
    passed = (votes == labels[:, np.newaxis, :]).sum(axis=2)
    golden = passed.argmax(axis=1)
    full_pass = (votes[np.arange(len(votes)), golden] == 0).all(axis=1)
    return float((labels == 0).mean()), float(full_pass.mean())


def majority_labels(votes: NDArray[np.int8], ties: NDArray[np.float32]) -> NDArray[np.int64]:
    """[tasks, inputs]: the most frequent output of [tasks, candidates, inputs]; -2 where nobody has one."""
    count = np.stack([(votes == number).sum(axis=1, dtype=np.int8) for number in range(ties.shape[2])], axis=2)
    return np.where(count.max(axis=2) > 0, (count + ties).argmax(axis=2), -2)


def predicted_figures(model: ErrorModel, tasks: KnownTasks, luck: Luck, ties: NDArray[np.float64]) -> NDArray:
    """[2, 3]: label accuracy and golden full-pass rate for 4, 8 and 16 candidates, the first of the same 16."""
    votes = outputs_of(draw_crowd(model, tasks, luck), tasks)
    return np.array([published_experiment(votes[:, :count], ties) for count in CANDIDATES]).T


@dataclass(frozen=True)
class Fit:
    """A fitted error model, what it predicts, and the root mean square of the six residuals (a share, not percent)."""

    model: ErrorModel
    predicted: NDArray[np.float64]
    error: float


def fit(start: ErrorModel, tasks: KnownTasks, target: NDArray[np.float64], seed: int, rounds: int = 7) -> Fit:
    """The parameters of `FITTED` that bring the figures closest to `target` [2, 3], the others as in `start`.

    A pattern search: steps in one parameter at a time, halved where none helps. With the same luck throughout the
    error is a function of the parameters, if not a smooth one.
    """
    luck = draw_luck(len(tasks), max(CANDIDATES), tasks.outputs.shape[1], seed)
    ties = np.random.default_rng(seed).random((*tasks.outputs[:, 0].shape, 1 + tasks.outputs.max()), dtype=np.float32)

    def tried(model: ErrorModel) -> Fit:
        predicted = predicted_figures(model, tasks, luck, ties)
        return Fit(model, predicted, float(np.sqrt(np.mean((predicted - target) ** 2))))

    best = tried(start)
    step = {name: (high - low) / 8 for name, (low, high) in FITTED.items()}
    for _ in range(rounds):
        improved = True
        while improved:
            improved = False
            for name, (low, high) in FITTED.items():
                for sign in (1, -1):
                    value = min(max(getattr(best.model, name) + sign * step[name], low), high)
                    found = tried(replace(best.model, **{name: value}))
                    if found.error < best.error - 1e-6:
                        best, improved = found, True
                        break
        step = {name: size / 2 for name, size in step.items()}
    return best


def _sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logit))
