"""Wrong candidates: a plausible mistake computes another pipeline; a broken answer holds no usable program."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from synth.procedural.input_forms import draw_instance
from synth.procedural.pipeline import PROBES, Pipeline, Step
from xcoder_core.models.prompt import code_response

Breakage = Literal["no code block", "syntax error", "crash", "endless loop"]

_BREAKAGE_WEIGHTS = {"no code block": 0.35, "syntax error": 0.35, "crash": 0.295, "endless loop": 0.005}


def mistakes(pipeline: Pipeline, rng: random.Random) -> list[Pipeline]:
    """The plausible mistakes that change some answer on random probe inputs, in a random order.

    A careless programmer forgets a step, swaps two, is off by one in a constant, or writes an operation's slip.
    """
    instances = [draw_instance(pipeline.form, rng) for _ in range(PROBES)]
    answers = [pipeline.answer(instance) for instance in instances]
    wrong = [
        mistaken
        for mistaken in _variants(pipeline)
        if any(mistaken.answer(instance) != answer for instance, answer in zip(instances, answers, strict=True))
    ]
    rng.shuffle(wrong)
    return wrong


def _variants(pipeline: Pipeline) -> Iterator[Pipeline]:
    steps = pipeline.steps
    for place, step in enumerate(steps):
        before, after = steps[:place], steps[place + 1 :]
        if step.operation.slip is not None:
            yield _with_steps(pipeline, *before, Step(step.operation.slip, step.parameter), *after)
        if isinstance(step.parameter, int):
            yield _with_steps(pipeline, *before, Step(step.operation, step.parameter + 1), *after)
        if step.operation.takes != step.operation.gives:
            continue
        if len(steps) > 1:
            yield _with_steps(pipeline, *before, *after)
        if after and after[0].operation.takes == after[0].operation.gives:
            yield _with_steps(pipeline, *before, after[0], step, *after[1:])
    if pipeline.output.slip is not None:
        yield replace(pipeline, output=pipeline.output.slip)


def _with_steps(pipeline: Pipeline, *steps: Step) -> Pipeline:
    return replace(pipeline, steps=steps)


def draw_breakage(rng: random.Random) -> Breakage:
    """How an answer is broken. Endless loops are rare: each costs the whole time limit."""
    return rng.choices(get_args(Breakage), [_BREAKAGE_WEIGHTS[kind] for kind in get_args(Breakage)])[0]


def break_program(program: str, breakage: Breakage, rng: random.Random) -> str:
    """The response of a teacher whose answer to a task went wrong; `program` is what it should have been."""
    if breakage == "no code block":
        return "Apply the steps in the order given, then give the answer."
    lines = program.rstrip("\n").split("\n")
    place = rng.choice([place for place, line in enumerate(lines) if _can_stand_after_a_statement(line)])
    indent = " " * (len(lines[place]) - len(lines[place].lstrip()))
    fault = {"syntax error": "if ):", "crash": "missing += 1", "endless loop": f"while True:\n{indent}    pass"}[
        breakage
    ]
    return code_response("\n".join([*lines[:place], indent + fault, *lines[place:]]))


def _can_stand_after_a_statement(line: str) -> bool:
    return not line.lstrip().startswith(("import ", "from ", "class ", "def ", "else:"))
