"""A task of the procedural teacher: its statement and problem as a model sees them, its inputs, and the true outputs.

Statements are short and without stories and examples, so that a very small model can read them. Codeforces and
LeetCode statements have one sentence for each step, in the order in which a program meets them: a model that reads
sentence by sentence can follow more operations than it was trained on.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synth.config import Style
from synth.procedural.input_forms import draw_instance, read_instance, write_instance
from synth.procedural.operations import LIST_OPERATIONS, Operation
from synth.procedural.pipeline import Pipeline, draw_pipeline
from synth.tables import new_problem
from xcoder_core.problem import Limits, Problem

FUNCTION_NAME = "solve"
DEFAULT_LIMITS = Limits()

_NUMBER_BOUNDS = ("4 to 12 integers, absolute values up to 50", "at most 12 integers between -50 and 50")
_WORD_BOUNDS = ("3 to 10 words of 1 to 6 letters a to e", "at most 10 words, letters a to e")


@dataclass(frozen=True)
class ProceduralTask:
    """A problem and the pipeline that it describes; `draws` counts the pipelines that were tried for it."""

    problem: Problem
    pipeline: Pipeline
    draws: int


def draw_task(
    seed: int,
    depth: int,
    style: Style,
    reserved: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    operations: Sequence[Operation] = LIST_OPERATIONS,
) -> ProceduralTask:
    """The task of a seed: `depth` operations in a statement of `style`, from the reserved signatures or the others."""
    rng = random.Random(seed)
    is_function = style == "leetcode"
    pipeline, draws = draw_pipeline(rng, depth, is_function, reserved, operations)
    statement = _write_statement(pipeline, style, rng)
    name = FUNCTION_NAME if is_function else None
    starter = write_starter(pipeline) if is_function else None
    problem = new_problem(statement, style, name, starter, limits, "procedural", pipeline.features)
    return ProceduralTask(replace(problem, difficulty=str(depth)), pipeline, draws)


def write_starter(pipeline: Pipeline) -> str:
    """The class and signature that a LeetCode task starts from."""
    parameters = ", ".join(f"{name}: {kind}" for name, kind in pipeline.form.parameters)
    return f"class Solution:\n    def {FUNCTION_NAME}(self, {parameters}) -> {pipeline.output.gives}:"


def draw_inputs(pipeline: Pipeline, count: int, seed: int) -> tuple[str, ...]:
    """`count` different inputs for a pipeline."""
    rng = random.Random(seed)
    inputs: dict[str, None] = {}
    while len(inputs) < count:
        inputs[write_instance(pipeline.form, draw_instance(pipeline.form, rng))] = None
    return tuple(inputs)


def true_output(pipeline: Pipeline, text: str) -> str:
    """What a right program prints for an input, or the JSON of what a right function returns."""
    answer = pipeline.answer(read_instance(pipeline.form, text))
    if pipeline.form.parameters:
        return json.dumps(answer)
    return " ".join(map(str, answer)) if isinstance(answer, list) else str(answer)


def _write_statement(pipeline: Pipeline, style: Style, rng: random.Random) -> str:
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
