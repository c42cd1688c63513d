"""The statement of a task in a style: Codeforces, AtCoder or LeetCode.

Statements are kept short and free of stories and worked examples, so that a very small model can read them. The
Codeforces and LeetCode forms tell their parts in the order in which a program meets them, one sentence each: a model
that reads on sentence by sentence can follow more operations than it was ever shown.
"""

import random

from synth.config import Style
from synth.procedural.pipeline import Pipeline

_NUMBER_BOUNDS = ("4 to 12 integers, absolute values up to 50", "at most 12 integers between -50 and 50")
_WORD_BOUNDS = ("3 to 10 words of 1 to 6 letters a to e", "at most 10 words, letters a to e")


def write_statement(pipeline: Pipeline, style: Style, rng: random.Random) -> str:
    """The statement, with a wording drawn for each of its parts."""
    steps = " ".join(rng.choice(step.operation.phrasings).format(c=step.parameter) for step in pipeline.steps)
    given = rng.choice(pipeline.form.phrasings)
    answer = rng.choice(pipeline.output.phrasings)
    if style == "codeforces":
        return f"You are given {given}. {steps} Print {answer}."
    if style == "atcoder":
        bounds = rng.choice(_NUMBER_BOUNDS if pipeline.form.values == "numbers" else _WORD_BOUNDS)
        return f"{steps} Print {answer}.\nConstraints: {bounds}.\nInput: {given}.\nOutput: the answer."
    return f"Given {given}. {steps} Return {answer}."


def write_starter(pipeline: Pipeline) -> str:
    """The class and signature that a LeetCode task starts from."""
    parameters = ", ".join(f"{name}: {kind}" for name, kind in pipeline.form.parameters)
    return f"class Solution:\n    def solve(self, {parameters}) -> {pipeline.output.returns}:"
