"""Labels and the accuracy of each candidate, estimated together: Dawid and Skene's model for open label sets.

After A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28(1), 1979. Theirs gives every observer a confusion matrix over a fixed set of classes. The outputs
of programs are no fixed set, so a candidate i has a single rate here: it is right with probability a_i, and another
wrong output equals a given one with probability COLLISION. For an input j with true output z,

    P(v_ij | z) = a_i  where v_ij = z,  else (1 - a_i) * COLLISION.

E-step (their equation 2.5): the posterior of z over the outputs that were given, and over "none of them", is the
product of this over the candidates that have an output on j. M-step (2.3): a_i is the expected share of the right
outputs of i, shrunk by a Beta prior, since a task has some ten inputs only. The prior's mean is where EM starts, so the
first E-step is plain majority. The model takes candidates to be independent. They are not: what several get wrong
alike looks like a certain truth, so its posteriors rank labels well and are far too high as probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

COLLISION = 0.3
"""Chance that two wrong outputs on one input are the same, as mistakes that are common make it."""

NONE_OF_THEM = 0.05
"""Prior weight of "no candidate has the true output", where each of the outputs that were given has 1."""

PRIOR_RIGHT, PRIOR_WRONG = 2.0, 2.0
"""Beta prior of a candidate's accuracy, as if it had answered so many inputs before. Even, so that it tells nothing."""

ITERATIONS = 50
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What EM found: for each input the posterior of each output that was given, and each candidate's accuracy."""

    posteriors: tuple[dict[str, float], ...]
    accuracies: tuple[float, ...]


def estimate_truth(votes: Sequence[Sequence[str | None]]) -> Estimate:
    """EM on the votes of one task: a row per candidate, a column per input, None where a candidate has no output."""
    import numpy as np  # which `xcoder plan` need not wait for

    inputs = len(votes[0]) if votes else 0
    columns = [[row[place] for row in votes] for place in range(inputs)]
    answers = [list(dict.fromkeys(vote for vote in column if vote is not None)) for column in columns]
    width = max((len(column) for column in answers), default=0)
    if width == 0:
        return Estimate(tuple({} for _ in range(inputs)), tuple(0.5 for _ in votes))
    gave = np.zeros((len(votes), inputs, width), dtype=bool)
    for candidate, row in enumerate(votes):
        for place, vote in enumerate(row):
            if vote is not None:
                gave[candidate, place, answers[place].index(vote)] = True
    ran = gave.any(axis=2)
    given = gave.any(axis=0)
    prior = PRIOR_RIGHT + PRIOR_WRONG
    accuracy = np.full(len(votes), PRIOR_RIGHT / prior)
    posterior = np.zeros(given.shape)
    for _ in range(ITERATIONS):
        log_wrong = np.log((1 - accuracy) * COLLISION)
        against = ran.T @ log_wrong
        gain = np.einsum("ijk,i->jk", gave, np.log(accuracy) - log_wrong)
        weight = np.where(given, against[:, np.newaxis] + gain, -np.inf)
        none = against + np.log(NONE_OF_THEM)
        highest = np.maximum(weight.max(axis=1), none)
        weight = np.exp(weight - highest[:, np.newaxis])
        posterior = weight / (weight.sum(axis=1) + np.exp(none - highest))[:, np.newaxis]
        right = np.einsum("ijk,jk->i", gave, posterior)
        updated = (right + PRIOR_RIGHT) / (ran.sum(axis=1) + prior)
        moved = np.abs(updated - accuracy).max()
        accuracy = updated
        if moved < TOLERANCE:
            break
    return Estimate(
        tuple(dict(zip(column, map(float, row), strict=False)) for column, row in zip(answers, posterior, strict=True)),
        tuple(map(float, accuracy)),
    )
