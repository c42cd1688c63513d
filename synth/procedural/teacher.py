"""The procedural teacher: a task, its inputs, and its responses, which depend on the seed and the question alone.

Its candidates are right programs, ones with a plausible mistake, and answers without a usable program. A program has
one of three code styles, of three variable names, and of up to two ways to read the input.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from reward.extract import extract_code, parses
from synth.config import ProceduralTeacherSettings
from synth.procedural.input_forms import draw_instance
from synth.procedural.operations import CODE_STYLES
from synth.procedural.pipeline import PROBES, Pipeline, Step, operations_below, read_pipeline, write_pipeline
from synth.procedural.task import draw_inputs, draw_task, write_starter
from synth.tables import Candidate, Task, TaskInputs
from synth.teaching import TaskOrder
from xcoder_core.models.prompt import code_response
from xcoder_core.problem import Limits
from xcoder_core.seeds import derive_seed

NAME = "procedural"

MAXIMUM_ATTEMPTS = 100
"""How often a task is drawn anew because its statement is there already; then cleaning removes the duplicate."""

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


@dataclass(frozen=True)
class ProceduralTeacher:
    """Answers for one run. `task_id` names what is asked; nothing else is remembered."""

    settings: ProceduralTeacherSettings
    seed: int

    def tasks(self, orders: Iterable[TaskOrder], limits: Limits, taken: set[str]) -> Iterator[Task]:
        """The task of each order, in order, none with a statement that an earlier one has."""
        operations = operations_below(self.settings.features)
        for order in orders:
            draws = 0
            for attempt in range(MAXIMUM_ATTEMPTS):
                seed = derive_seed(self.seed, "task", order.task_id, attempt)
                drawn = draw_task(seed, order.depth, order.style, order.use == "evaluation", limits, operations)
                draws += drawn.draws
                if drawn.problem.problem_id not in taken:
                    break
            taken.add(drawn.problem.problem_id)
            pipeline = write_pipeline(drawn.pipeline)
            yield Task(order.task_id, order.split, order.use, order.depth, draws, pipeline, drawn.problem)

    def inputs(self, tasks: Iterable[Task], count: int) -> Iterator[TaskInputs]:
        """`count` different test inputs of each task, in order."""
        for task in tasks:
            drawn = draw_inputs(_pipeline(task), count, derive_seed(self.seed, "inputs", task.task_id))
            yield TaskInputs(task.task_id, drawn)

    def candidates(self, missing: Iterable[tuple[Task, list[int]]]) -> Iterator[list[Candidate]]:
        """The candidates of each task at these places, in order."""
        for task, indices in missing:
            responses = zip(indices, self.responses(task.task_id, _pipeline(task), indices), strict=True)
            yield [parse_response(task.task_id, index, response) for index, response in responses]

    def close(self) -> None:
        """Nothing is held."""

    def responses(self, task_id: str, pipeline: Pipeline, indices: list[int]) -> list[str]:
        """The candidates at these places: right ones in styles that alternate, mistaken and broken ones at their rates.

        The first plausible mistake of a task is its common one; `common_mistake_rate` of the mistaken share it.
        """
        shuffle = random.Random(derive_seed(self.seed, "writing", task_id))
        order = _writing_order(writings(pipeline, self.settings.variable_names), shuffle)
        wrong: list[Pipeline] | None = None
        responses = []
        for index in indices:
            rng = random.Random(derive_seed(self.seed, "response", task_id, index))
            writing = order[index % len(order)]
            luck = rng.random()
            if luck < self.settings.broken_rate:
                responses.append(break_program(write_program(pipeline, writing), draw_breakage(rng), rng))
                continue
            programmed = pipeline
            if luck < self.settings.broken_rate + self.settings.wrong_rate:
                if wrong is None:
                    wrong = mistakes(pipeline, random.Random(derive_seed(self.seed, "mistakes", task_id)))
                if wrong:
                    shares_common = len(wrong) == 1 or rng.random() < self.settings.common_mistake_rate
                    programmed = wrong[0] if shares_common else rng.choice(wrong[1:])
            responses.append(code_response(write_program(programmed, writing)))
        return responses


def parse_response(task: str, index: int, response: str) -> Candidate:
    """The candidate of a response: its last fenced program where there is one that parses, else the fault."""
    code = extract_code(response)
    if code is None:
        return Candidate(task, index, NAME, response, "", "no code block")
    return Candidate(task, index, NAME, response, code, None if parses(code) else "does not parse")


def _pipeline(task: Task) -> Pipeline:
    if task.pipeline is None:
        raise RuntimeError(f"task {task.task_id} was not made by the procedural teacher")
    return read_pipeline(task.pipeline)


def _writing_order(choices: list[Writing], rng: random.Random) -> list[Writing]:
    """All choices, shuffled so that any three in a row have three code styles."""
    by_style: dict[int, list[Writing]] = {}
    for writing in choices:
        by_style.setdefault(writing.style, []).append(writing)
    styles = rng.sample(sorted(by_style), len(by_style))
    columns = [rng.sample(by_style[style], len(by_style[style])) for style in styles]
    return [writing for row in zip(*columns, strict=True) for writing in row]


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
