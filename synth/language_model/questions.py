"""What a language model is asked for a task, and how its answers are read: statement, inputs, programs, solutions.

After X-Coder (arXiv 2601.06953), section 3: a subtree of the feature tree is reduced to features that fit together,
with a strategy to combine them; the statement is written from that, without hints. The inputs of a task, a generator,
a validator and a brute-force solution are questions of their own: where one cannot be read, the task goes on without.
"""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from reward.extract import fenced_blocks, is_python, parses
from synth.config import InputSettings, SolutionSettings, Style
from synth.features.subtrees import Subtree
from synth.language_model.dialogue import Dialogue, Question, Unusable
from synth.prompts import AnswerError, read_object, render
from synth.tables import Candidate, Quarantined, Task, new_problem
from synth.teaching import TaskOrder
from xcoder_core.models.prompt import Message
from xcoder_core.models.request import Completion
from xcoder_core.problem import Limits, Origin

TYPES = {"int", "float", "str", "bool", "list", "None", "Optional", "List"}
"""What the types of a function's parameters and result are made of: values that JSON has."""

OPENING = re.compile(r"^[ \t]*`{4,}[ \t]*statement[ \t]*$", re.MULTILINE)
"""With three backticks, the first example in the statement would end it."""


@dataclass(frozen=True)
class Selection:
    """Features that fit together, each as a path with its use, and how they are combined (empty with one stage)."""

    features: tuple[tuple[str, str], ...]
    strategy: str


@dataclass(frozen=True)
class Statement:
    """What a reader of the task is shown; the last two are None for a task that reads standard input."""

    text: str
    starter_code: str | None
    function_name: str | None


def ask_task(order: TaskOrder, subtree: Subtree, stages: int, limits: Limits, source: str) -> Dialogue[Task]:
    """The dialogue that makes a task from a subtree of the feature tree."""
    selection = Selection(tuple((path, "") for path in subtree.leaves), "")
    if stages == 2:
        selection = yield Question(
            "select_features",
            render("select_features", features=subtree.leaves, mandatory=subtree.mandatory),
            lambda answer: read_selection(answer, subtree),
        )
    messages = render(
        "write_task",
        style=order.style,
        features=[{"feature": path, "use": use} for path, use in selection.features],
        strategy=selection.strategy,
    )
    written: Statement = yield Question("write_task", messages, lambda answer: read_statement(answer, order.style))
    features = tuple(path for path, _ in selection.features)
    signature = (written.function_name, written.starter_code)
    plan = {"subtree": subtree.leaves, "features": dict(selection.features), "strategy": selection.strategy}
    return Task(
        task_id=order.task_id,
        split=order.split,
        use=order.use,
        depth=len(selection.features),
        draws=1,
        pipeline=None,
        plan=json.dumps(plan, ensure_ascii=False),
        problem=new_problem(written.text, order.style, *signature, limits, source, features),
    )


def read_selection(answer: Completion, subtree: Subtree) -> Selection:
    """The chosen features and the strategy; raises `AnswerError` for a feature that was not on offer, or missing."""
    value = read_object(answer.text, ("features", "strategy"))
    strategy = _text(value["strategy"], "strategy")
    if not isinstance(value["features"], list) or not value["features"]:
        raise AnswerError("`features` must be a list of at least one object with `feature` and `use`")
    chosen: dict[str, str] = {}
    for place, item in enumerate(value["features"]):
        if not isinstance(item, dict) or item.keys() != {"feature", "use"}:
            raise AnswerError(f"features[{place}] must be an object with exactly `feature` and `use`")
        path, use = _text(item["feature"], f"features[{place}].feature"), _text(item["use"], f"features[{place}].use")
        if path not in subtree.leaves:
            raise AnswerError(f"features[{place}].feature: `{path}` is not a line of the list; copy the whole path")
        if path in chosen:
            raise AnswerError(f"features[{place}].feature: `{path}` was chosen twice")
        chosen[path] = use
    if missing := [path for path in subtree.mandatory if path not in chosen]:
        raise AnswerError(f"`{missing[0]}` must be among the chosen features")
    return Selection(tuple(chosen.items()), strategy)


def read_statement(answer: Completion, style: Style) -> Statement:
    """The statement, with starter code for LeetCode; raises `AnswerError` where a block is missing or wrong."""
    blocks = fenced_blocks(answer.text)
    if blocks is None:
        raise AnswerError("the answer was cut short; expected the statement between two fences of four backticks")
    if not OPENING.search(answer.answer):
        raise AnswerError("expected the statement in a block that begins with ````statement, of four backticks")
    statements = [block.strip() for tag, block in blocks if tag == "statement"]
    if len(statements) != 1 or not statements[0]:
        raise AnswerError(
            f"expected one block that begins with ````statement and is not empty, found {len(statements)}"
        )
    programs = [block for tag, block in blocks if tag and is_python(tag)]
    if style != "leetcode":
        return Statement(statements[0], None, None)
    if len(programs) != 1:
        raise AnswerError(f"expected one ```python block with the starter code, found {len(programs)}")
    starter = programs[0].strip()
    return Statement(statements[0], starter, read_signature(starter)[0])


def read_signature(starter: str) -> tuple[str, tuple[str, ...]]:
    """Name and parameters of the one method of `class Solution`; raises `AnswerError` for any other starter code."""
    if not starter.endswith(":"):
        raise AnswerError("the starter code must end with the colon of the signature, without a body")
    try:
        tree = ast.parse(starter + " pass")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AnswerError(f"the starter code does not parse: {str(error) or 'it is nested too deeply'}") from error
    match tree.body:
        case [ast.ClassDef(name="Solution", body=[ast.FunctionDef() as method])]:
            pass
        case _:
            raise AnswerError("the starter code must be `class Solution:` with exactly one method and nothing else")
    signature = method.args
    if signature.posonlyargs or signature.kwonlyargs or signature.vararg or signature.kwarg or signature.defaults:
        raise AnswerError("the method may only have plain parameters, without defaults")
    parameters = signature.args[1:]
    if not signature.args or signature.args[0].arg != "self" or not parameters:
        raise AnswerError("the method must have `self` and at least one parameter")
    for what, annotation in [*((p.arg, p.annotation) for p in parameters), ("the result", method.returns)]:
        if annotation is None:
            raise AnswerError(f"the type of {what} is missing")
        used = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
        if unknown := sorted(used - TYPES):
            raise AnswerError(f"the type of {what} uses `{unknown[0]}`; allowed are int, float, str, bool and list")
    return method.name, tuple(parameter.arg for parameter in parameters)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise AnswerError(f"`{what}` must be a string that is not empty")
    return value.strip()


Result = TypeVar("Result")

CATEGORIES = ("small", "medium", "large", "edge")
"""What an input is meant to show; generators are asked for them in turn."""


@dataclass(frozen=True, slots=True)
class Input:
    """A test input in the making."""

    origin: Origin
    category: str
    text: str


@dataclass
class Draft:
    """The inputs and programs that a model wrote for a task, None where there is none.

    `set_aside` has what could not be read or used, `refused` the reason of each input that was dropped.
    """

    task: Task
    inputs: list[Input]
    generator: str | None
    validator: str | None
    brute_force: str | None
    set_aside: list[Quarantined] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def put_aside(self, reason: str, response: str) -> None:
        """Note why something cannot be used."""
        self.set_aside.append(Quarantined(self.task.task_id, -1, self.task.split, reason, response))


def ask_programs(task: Task, inputs_per_task: int, settings: InputSettings) -> Dialogue[Draft]:
    """The dialogue about one task, which asks for what the settings want."""
    problem = task.problem
    shown = {"statement": problem.statement, "starter_code": problem.starter_code}
    parameters = None if problem.starter_code is None else read_signature(problem.starter_code)[1]
    prompted = inputs_per_task - generated_count(inputs_per_task, settings)
    draft = Draft(task, [], None, None, None)

    def ask(wanted: bool, name: str, read: Callable[[Completion], Result], **fields: object) -> Dialogue[Result | None]:
        if not wanted:
            return None
        try:
            return (yield Question(name, render(name, **shown, **fields), read))
        except Unusable as error:
            draft.put_aside(str(error), error.answer)
            return None

    inputs = yield from ask(
        prompted > 0, "write_inputs", lambda answer: read_inputs(answer, prompted, parameters), count=prompted
    )
    draft.inputs = [Input("prompt", *pair) for pair in inputs or ()]
    draft.generator = yield from ask(prompted < inputs_per_task, "write_generator", read_program)
    draft.validator = yield from ask(settings.validator, "write_validator", read_program)
    draft.brute_force = yield from ask(settings.brute_force, "write_brute_force", read_program)
    return draft


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
