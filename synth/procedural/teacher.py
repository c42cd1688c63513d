"""The procedural teacher: a task, its inputs, and its responses, which depend on the seed and the question alone."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reward.extract import extract_code, parses
from synth.config import ProceduralTeacherSettings
from synth.procedural.pipeline import Pipeline, operations_below, read_pipeline, write_pipeline
from synth.procedural.program import Writing, break_program, draw_breakage, mistakes, write_program, writings
from synth.procedural.task import draw_inputs, draw_task
from synth.tables import Candidate, Task, TaskInputs
from synth.teaching import TaskOrder
from xcoder_core.models.prompt import code_response
from xcoder_core.problem import Limits
from xcoder_core.seeds import derive_seed

NAME = "procedural"

MAXIMUM_ATTEMPTS = 100
"""How often a task is drawn anew because its statement is there already; then cleaning removes the duplicate."""


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
