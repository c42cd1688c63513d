"""What is read from answers, and what is refused with a message that says how to mend it."""

import json
from typing import Any

import pytest

from synth.config import InputSettings, SolutionSettings
from synth.features.subtrees import Subtree
from synth.language_model.questions import (
    Selection,
    Statement,
    ask_programs,
    ask_task,
    read_inputs,
    read_program,
    read_selection,
    read_signature,
    read_solution,
    read_statement,
)
from synth.prompts import AnswerError
from synth.tables import Task
from synth.teaching import TaskOrder
from xcoder_core.models.request import Completion
from xcoder_core.problem import Limits, Problem

SUBTREE = Subtree(0, ("algorithm/graph/BFS", "algorithm/graph/DFS", "data structure/heap"), ("data structure/heap",))
STARTER = "class Solution:\n    def best(self, nums: list[int], k: int) -> list[list[str]]:"


def said(text: str, tokens: int = 100) -> Completion:
    return Completion("r", text, (), "stop", 10, tokens)


def fenced(value: Any) -> Completion:
    return said(f"<think>\n```json\n[]\n```\n</think>\n\n```json\n{json.dumps(value)}\n```")


def chosen(*paths: str) -> dict[str, Any]:
    return {"features": [{"feature": path, "use": "a step"} for path in paths], "strategy": "in order"}


def test_a_selection_holds_features_of_the_subtree() -> None:
    read = read_selection(fenced(chosen("data structure/heap", "algorithm/graph/BFS")), SUBTREE)
    assert read == Selection((("data structure/heap", "a step"), ("algorithm/graph/BFS", "a step")), "in order")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (chosen("data structure/heap", "BFS"), "is not a line of the list"),
        (chosen("data structure/heap", "data structure/heap"), "chosen twice"),
        (chosen("algorithm/graph/BFS"), "`data structure/heap` must be among"),
        (chosen(), "at least one object"),
        ({**chosen("data structure/heap"), "strategy": " "}, "`strategy` must be a string"),
        ({"features": ["data structure/heap"], "strategy": "x"}, "must be an object with exactly"),
    ],
)
def test_a_selection_that_is_not_of_the_subtree_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        read_selection(fenced(value), SUBTREE)


def test_a_statement_keeps_its_latex_and_its_inner_fences() -> None:
    text = "Find $a \\neq b$ with $\\frac{a}{b} \\le 3$.\n\n```\n3 1\n```\n\nThe end."
    answer = said(f"Here it is.\n````statement\n{text}\n````\n")
    assert read_statement(answer, "codeforces") == Statement(text, None, None)


def test_a_function_task_comes_with_its_signature() -> None:
    read = read_statement(said(f"````statement\nFind it.\n````\n\n```python\n{STARTER}\n```"), "leetcode")
    assert read == Statement("Find it.", STARTER, "best")
    assert read_signature(STARTER) == ("best", ("nums", "k"))


@pytest.mark.parametrize(
    ("starter", "message"),
    [
        (STARTER + "\n        pass", "without a body"),
        ("def best(nums: list[int]) -> int:", "exactly one method"),
        ("class Other:\n    def best(self, nums: list[int]) -> int:", "exactly one method"),
        ("class Solution:\n    def best(self) -> int:", "at least one parameter"),
        ("class Solution:\n    def best(self, nums) -> int:", "type of nums is missing"),
        ("class Solution:\n    def best(self, root: TreeNode) -> int:", "uses `TreeNode`"),
        ("class Solution:\n    def best(self, k: int = 3) -> int:", "without defaults"),
        ("class Solution:\n    def best(self, k: int -> int:", "does not parse"),
        (f"class Solution:\n    def best(self, k: {'-' * 5000}1) -> int:", "does not parse: maximum recursion"),
        (f"class Solution:\n    def best(self, k: {'-' * 50_000}1) -> int:", "does not parse: it is nested too deeply"),
    ],
)
def test_starter_code_that_json_cannot_serve_is_refused(starter: str, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        read_signature(starter)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Find it.", "four backticks"),
        ("````statement of it\na\n````", "four backticks"),
        ("````statement\n\n````", "not empty"),
        ("````statement\na\n````\n````statement\nb\n````", "found 2"),
        ("````statement\na\n", "cut short"),
        ("```statement\na\n```\n3 1\n```\nb\n```", "four backticks"),
    ],
)
def test_an_answer_without_one_statement_is_refused(answer: str, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        read_statement(said(answer), "atcoder")


def test_inputs_become_what_a_program_reads() -> None:
    value = {"inputs": [{"category": "edge", "input": "1\n2"}, {"category": "large", "input": "3\n"}]}
    assert read_inputs(fenced(value), 5, None) == (("edge", "1\n2\n"), ("large", "3\n"))
    assert len(read_inputs(fenced(value), 1, None)) == 1
    arguments = {"inputs": [{"category": "small", "arguments": [[1, 2], "a\nb"]}]}
    assert read_inputs(fenced(arguments), 5, ("nums", "text")) == (("small", '[1, 2]\n"a\\nb"'),)


@pytest.mark.parametrize(
    ("item", "parameters", "message"),
    [
        ({"category": "tiny", "input": "1"}, None, "must be one of"),
        ({"category": "edge", "input": " "}, None, "not empty"),
        ({"category": "edge", "arguments": [1]}, None, "exactly `category` and `input`"),
        ({"category": "edge", "arguments": [1]}, ("a", "b"), "2 values: a, b"),
    ],
)
def test_inputs_of_another_form_are_refused(item: dict[str, Any], parameters: Any, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        read_inputs(fenced({"inputs": [item]}), 5, parameters)


def test_a_program_is_the_only_block_after_the_reasoning() -> None:
    assert read_program(said("<think>\n```python\ndraft\n```\n</think>\n\n```python\nprint(1)\n```")) == "print(1)\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("print(1)", "no code block"),
        ("```python\nprint(1)\n```\n\nor\n\n```python\nprint(2)\n```", "more than one code block"),
        ("```python\nprint(\n```", "does not parse"),
        ("```python\nprint(1)", "no code block"),
    ],
)
def test_a_solution_that_is_not_one_program_has_its_fault_named(text: str, reason: str) -> None:
    with pytest.raises(AnswerError, match=f"^{reason}$"):
        read_solution(said(text), SolutionSettings())


def test_a_solution_outside_the_token_range_is_refused() -> None:
    settings = SolutionSettings(tokens=(50, 200))
    assert read_solution(said("```python\nprint(1)\n```", 200), settings)[1] == "print(1)\n"
    for tokens in (49, 201):
        with pytest.raises(AnswerError, match="outside the token range"):
            read_solution(said("```python\nprint(1)\n```", tokens), settings)


@pytest.mark.parametrize(
    ("share", "asked"),
    [(0.0, ["write_inputs"]), (0.4, ["write_inputs", "write_generator"]), (1.0, ["write_generator"])],
)
def test_only_what_the_settings_want_is_asked(share: float, asked: list[str]) -> None:
    problem = Problem("p", "Add.", "codeforces", "stdin")
    settings = InputSettings(generated_share=share, validator=False, brute_force=False)
    dialogue = ask_programs(Task("000-a-00000000", "a", "sft", 1, 1, None, problem), 10, settings)
    names, sent = [], None
    try:
        while True:
            question = dialogue.send(sent)
            names.append(question.name)
            sent = (("edge", "1\n"),) if question.name == "write_inputs" else "print(1)\n"
    except StopIteration:
        assert names == asked


@pytest.mark.parametrize("stages", [1, 2])
def test_a_task_is_written_from_the_selection_or_in_one_stage_from_the_whole_subtree(stages: int) -> None:
    order = TaskOrder(4, "000-a-00000004", "a", "sft", 1, "atcoder")
    dialogue = ask_task(order, SUBTREE, stages, Limits(3.0, 256), "a model")
    question = next(dialogue)
    if stages == 2:
        assert question.name == "select_features"
        question = dialogue.send(Selection((("data structure/heap", "keeps order"),), "only that"))
    assert question.name == "write_task"
    prompt = question.messages[-1]["content"]
    assert ("algorithm/graph/DFS" in prompt) == (stages == 1)
    assert ("They are combined like this: only that" in prompt) == (stages == 2)
    assert "The style is that of AtCoder" in prompt
    with pytest.raises(StopIteration) as end:
        dialogue.send(Statement("Sort it.", None, None))
    task = end.value.value
    assert (task.problem.statement, task.problem.io, task.problem.limits) == ("Sort it.", "stdin", Limits(3.0, 256))
    assert task.problem.features == (SUBTREE.leaves if stages == 1 else ("data structure/heap",))
    assert task.depth == len(task.problem.features) and task.pipeline is None
