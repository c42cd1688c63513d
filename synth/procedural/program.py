"""Candidate programs: right ones, ones with a plausible mistake, and answers without a usable program.

A program has one of three code styles, of three variable names, and of up to two ways to read the input.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from synth.procedural.input_forms import draw_instance
from synth.procedural.operations import CODE_STYLES
from synth.procedural.pipeline import PROBES, Pipeline, Step
from synth.procedural.task import write_starter
from xcoder_core.models.prompt import code_response

Breakage = Literal["no code block", "syntax error", "crash", "endless loop"]

_BREAKAGE_WEIGHTS: dict[Breakage, float] = {
    "no code block": 0.35,
    "syntax error": 0.35,
    "crash": 0.295,
    "endless loop": 0.005,
}

VARIABLE_NAMES = 3
"""Names that each input form offers for the variable that holds the values."""


@dataclass(frozen=True)
class Writing:
    """How a program is written: places in the tuples of code styles, variable names and readers."""

    style: int
    variable: int
    reader: int


def writings(pipeline: Pipeline, variable_names: int = VARIABLE_NAMES) -> list[Writing]:
    """Every way to write a program for this pipeline: 18 that read standard input, 9 functions, with all names."""
    choices = product(range(len(CODE_STYLES)), range(variable_names), range(len(pipeline.form.readers)))
    return [Writing(*choice) for choice in choices]


def write_program(pipeline: Pipeline, writing: Writing) -> str:
    """The program as source text that ends in a newline."""
    variable = pipeline.form.variables[writing.variable]
    reader = pipeline.form.readers[writing.reader].format(v=variable)
    parts = [] if reader == f"{variable} = {variable}" else [reader]
    for step in pipeline.steps:
        code, _ = step.operation.right.codes[writing.style]
        parts.append(code.format(v=variable, c=step.parameter))
    before, answer = (part.format(v=variable) for part in pipeline.output.right.codes[writing.style])
    if before:
        parts.append(before)
    parts.append(_give(pipeline, answer, writing.style))

    lines = "\n".join(parts).split("\n")
    imports = list(dict.fromkeys(line for line in lines if line.startswith(("import ", "from "))))
    body = [line for line in lines if line not in imports]
    if pipeline.form.parameters:
        body = [*write_starter(pipeline).split("\n"), *(f"        {line}" for line in body)]
    return "\n".join(imports + body) + "\n"


def _give(pipeline: Pipeline, answer: str, style: int) -> str:
    if pipeline.form.parameters:
        return f"return {answer}"
    if not pipeline.output.gives.startswith("list"):
        return f"print({answer})"
    if CODE_STYLES[style] != "functional":
        return f"print(*{answer})"
    return f"print(' '.join(map(str, {answer})))"


def mistakes(pipeline: Pipeline, rng: random.Random) -> list[Pipeline]:
    """The plausible mistakes that change some answer on random probe inputs, in a random order.

    A careless programmer forgets a step, swaps two, is off by one in a constant, or writes an operation's slip.
    """
    instances = [draw_instance(pipeline.form, rng) for _ in range(PROBES)]
    answers = [pipeline.answer(instance) for instance in instances]
    wrong = [mistaken for mistaken in _variants(pipeline) if mistaken.differs(instances, answers)]
    rng.shuffle(wrong)
    return wrong


def _variants(pipeline: Pipeline) -> Iterator[Pipeline]:
    steps = pipeline.steps
    for place, step in enumerate(steps):
        before, after = steps[:place], steps[place + 1 :]
        if step.operation.slipped is not None:
            yield replace(pipeline, steps=(*before, Step(step.operation.slipped, step.parameter), *after))
        if isinstance(step.parameter, int):
            yield replace(pipeline, steps=(*before, Step(step.operation, step.parameter + 1), *after))
        if step.operation.takes != step.operation.gives:
            continue
        if len(steps) > 1:
            yield pipeline.without(place)
        if after and after[0].operation.takes == after[0].operation.gives:
            yield replace(pipeline, steps=(*before, after[0], step, *after[1:]))
    if pipeline.output.slipped is not None:
        yield replace(pipeline, output=pipeline.output.slipped)


def draw_breakage(rng: random.Random) -> Breakage:
    """How an answer is broken. Endless loops are rare: each costs the whole time limit."""
    return rng.choices(list(_BREAKAGE_WEIGHTS), list(_BREAKAGE_WEIGHTS.values()))[0]


def break_program(program: str, breakage: Breakage, rng: random.Random) -> str:
    """The response of a teacher whose answer to a task went wrong; `program` is what it should have been."""
    if breakage == "no code block":
        return "Apply the steps in the order given, then give the answer."
    lines = program.rstrip("\n").split("\n")
    cannot_be_displaced = ("import ", "from ", "class ", "def ", "else:")
    places = [place for place, line in enumerate(lines) if not line.lstrip().startswith(cannot_be_displaced)]
    place = rng.choice(places)
    indent = " " * (len(lines[place]) - len(lines[place].lstrip()))
    faults = {"syntax error": "if ):", "crash": "missing += 1", "endless loop": f"while True:\n{indent}    pass"}
    fault = faults[breakage]
    return code_response("\n".join([*lines[:place], indent + fault, *lines[place:]]))
