"""Programs that compute a pipeline: three code styles, three variable names, up to two ways to read the input."""

from dataclasses import dataclass
from itertools import product

from synth.procedural.operation import CODE_STYLES
from synth.procedural.pipeline import Pipeline
from synth.procedural.statement import write_starter

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
        parts.append(step.operation.codes[writing.style].format(v=variable, c=step.parameter))
    before, answer = (part.format(v=variable) for part in pipeline.output.codes[writing.style])
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
    if not pipeline.output.returns.startswith("list"):
        return f"print({answer})"
    if CODE_STYLES[style] != "functional":
        return f"print(*{answer})"
    return f"print(' '.join(map(str, {answer})))"
