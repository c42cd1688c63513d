"""A task of the procedural teacher: its problem as a model sees it, its inputs, and the true outputs."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from synth.config import Style
from synth.procedural.input_forms import draw_instance, read_instance, write_instance
from synth.procedural.operation import Operation
from synth.procedural.pipeline import ALL_OPERATIONS, Pipeline, draw_pipeline
from synth.procedural.statement import write_starter, write_statement
from xcoder_core.problem import IoKind, Limits, Problem, problem_id

FUNCTION_NAME = "solve"
DEFAULT_LIMITS = Limits()


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
    operations: Sequence[Operation] = ALL_OPERATIONS,
) -> ProceduralTask:
    """The task of a seed: `depth` operations in a statement of `style`, from the reserved signatures or the others."""
    rng = random.Random(seed)
    is_function = style == "leetcode"
    pipeline, draws = draw_pipeline(rng, depth, is_function, reserved, operations)
    statement = write_statement(pipeline, style, rng)
    name = FUNCTION_NAME if is_function else None
    starter = write_starter(pipeline) if is_function else None
    io: IoKind = "function" if is_function else "stdin"
    problem = Problem(
        problem_id=problem_id(statement, io, name, starter),
        statement=statement,
        style=style,
        io=io,
        function_name=name,
        starter_code=starter,
        difficulty=str(depth),
        features=pipeline.features,
        limits=limits,
        source="procedural",
    )
    return ProceduralTask(problem, pipeline, draws)


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
