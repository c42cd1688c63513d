"""What a language model writes for a task: inputs, a generator, a validator, a brute-force solution, and solutions.

Each is a question of its own: where one answer cannot be read, the task goes on without it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from reward.extract import fenced_blocks, is_python, parses
from synth.config import InputSettings, SolutionSettings
from synth.language_model.dialogue import Dialogue, Question, Unusable
from synth.language_model.tasks import read_signature
from synth.prompts import AnswerError, read_object, render
from synth.tables import Candidate, Task
from xcoder_core.models.prompt import Message
from xcoder_core.models.request import Completion

Result = TypeVar("Result")

CATEGORIES = ("small", "medium", "large", "edge")
"""What an input is meant to show; generators are asked for them in turn."""


@dataclass(frozen=True)
class Written:
    """The inputs (category and text) and programs that a model wrote for a task, None where there is none.

    `unusable` holds what could not be read: question, reason, and the last answer.
    """

    task: Task
    inputs: tuple[tuple[str, str], ...]
    generator: str | None
    validator: str | None
    brute_force: str | None
    unusable: tuple[Unusable, ...]


def ask_programs(task: Task, inputs_per_task: int, settings: InputSettings) -> Dialogue[Written]:
    """The dialogue about one task, which asks for what the settings want."""
    problem = task.problem
    shown = {"statement": problem.statement, "starter_code": problem.starter_code}
    parameters = None if problem.starter_code is None else read_signature(problem.starter_code)[1]
    prompted = inputs_per_task - generated_count(inputs_per_task, settings)
    unusable: list[Unusable] = []

    def ask(wanted: bool, name: str, read: Callable[[Completion], Result], **fields: object) -> Dialogue[Result | None]:
        if not wanted:
            return None
        try:
            return (yield Question(name, render(name, **shown, **fields), read))
        except Unusable as error:
            unusable.append(error)
            return None

    inputs = yield from ask(
        prompted > 0, "write_inputs", lambda answer: read_inputs(answer, prompted, parameters), count=prompted
    )
    generator = yield from ask(prompted < inputs_per_task, "write_generator", read_program)
    validator = yield from ask(settings.validator, "write_validator", read_program)
    brute_force = yield from ask(settings.brute_force, "write_brute_force", read_program)
    return Written(task, inputs or (), generator, validator, brute_force, tuple(unusable))


def ask_solution(task: Task, index: int, model: str, settings: SolutionSettings) -> Dialogue[Candidate]:
    """The dialogue for one candidate. An answer that holds no usable program makes a candidate with its fault."""
    ask = partial(render, "write_solution", statement=task.problem.statement, starter_code=task.problem.starter_code)

    def again(messages: list[Message], answer: str, error: str) -> list[Message]:
        return ask(error=error)  # from the start: the answer becomes a training example, without a conversation

    try:
        response, code = yield Question(
            "write_solution", ask(error=None), lambda answer: read_solution(answer, settings), again
        )
    except Unusable as fault:
        return Candidate(task.task_id, index, model, fault.answer, "", fault.reason)
    return Candidate(task.task_id, index, model, response, code, None)


def read_solution(answer: Completion, settings: SolutionSettings) -> tuple[str, str]:
    """The whole completion and its program; raises `AnswerError` outside the token range or without one program."""
    if settings.tokens is not None and not settings.tokens[0] <= answer.completion_tokens <= settings.tokens[1]:
        raise AnswerError("outside the token range")
    return answer.text, read_program(answer)


def generated_count(inputs_per_task: int, settings: InputSettings) -> int:
    """How many of a task's inputs a generator program is to print."""
    return round(inputs_per_task * settings.generated_share)


def read_inputs(answer: Completion, most: int, parameters: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    """Category and text of each input, at most `most`; raises `AnswerError` for one without the form asked for.

    A function's arguments become one JSON value per line; a text for standard input ends in a newline.
    """
    items = read_object(answer.text, ("inputs",))["inputs"]
    if not isinstance(items, list) or not items:
        raise AnswerError("`inputs` must be a list that is not empty")
    content = "input" if parameters is None else "arguments"
    read = []
    for place, item in enumerate(items):
        if not isinstance(item, dict) or item.keys() != {"category", content}:
            raise AnswerError(f"inputs[{place}] must be an object with exactly `category` and `{content}`")
        if item["category"] not in CATEGORIES:
            raise AnswerError(f"inputs[{place}].category must be one of edge, small, medium, large")
        value = item[content]
        if parameters is None:
            if not isinstance(value, str) or not value.strip():
                raise AnswerError(f"inputs[{place}].input must be text that is not empty")
            read.append((item["category"], value if value.endswith("\n") else value + "\n"))
        else:
            if not isinstance(value, list) or len(value) != len(parameters):
                raise AnswerError(
                    f"inputs[{place}].arguments must be a list of {len(parameters)} values: {', '.join(parameters)}"
                )
            read.append((item["category"], "\n".join(json.dumps(argument) for argument in value)))
    return tuple(read[:most])


def read_program(answer: Completion) -> str:
    """The only fenced Python block after the reasoning; raises `AnswerError` with one of a few fixed reasons."""
    programs = [block for tag, block in fenced_blocks(answer.text) or [] if is_python(tag)]
    if not programs:
        raise AnswerError("no code block")
    if len(programs) > 1:
        raise AnswerError("more than one code block")
    if not parses(programs[0]):
        raise AnswerError("does not parse")
    return programs[0]
