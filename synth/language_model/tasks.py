"""How a language model is asked for a task: first which features fit together and how, then the statement in a style.

After X-Coder (arXiv 2601.06953), section 3: a subtree of the feature tree is annotated and reduced to a compatible
subset with an integration strategy; the statement is written from that, without hints.
"""

import ast
import json
import re
from dataclasses import dataclass

from reward.extract import fenced_blocks, is_python
from synth.config import Style
from synth.features.subtrees import Subtree
from synth.language_model.dialogue import Dialogue, Question
from synth.prompts import AnswerError, read_object, render
from synth.tables import Task
from synth.teaching import TaskOrder
from xcoder_core.models.request import Completion
from xcoder_core.problem import IoKind, Limits, Problem, problem_id

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
    io: IoKind = "stdin" if written.function_name is None else "function"
    problem = Problem(
        problem_id=problem_id(written.text, io, written.function_name, written.starter_code),
        statement=written.text,
        style=order.style,
        io=io,
        function_name=written.function_name,
        starter_code=written.starter_code,
        features=tuple(path for path, _ in selection.features),
        limits=limits,
        source=source,
    )
    plan = {"subtree": subtree.leaves, "features": dict(selection.features), "strategy": selection.strategy}
    return Task(
        task_id=order.task_id,
        split=order.split,
        use=order.use,
        depth=len(selection.features),
        draws=1,
        pipeline=None,
        plan=json.dumps(plan, ensure_ascii=False),
        problem=problem,
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
