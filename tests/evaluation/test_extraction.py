"""The two extraction rules, on the answers on which they are known to part, and against the official code."""

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evaluation.prompting import FEW_SHOT, WHERE, between_last_fences, evaluation_prompt, extractor, load_examples
from xcoder_core.models.prompt import PromptStyle, render_prompt
from xcoder_core.problem import Problem

F = "```"
ANSWERS = {
    "one block": (f"Here.\n{F}python\nA\n{F}\n", "A\n", "A"),
    "two blocks": (f"{F}python\nA\n{F}\n{F}python\nB\n{F}", "B\n", "B"),
    "a sample after it": (f"{F}python\nA\n{F}\nIt prints\n{F}text\n3\n{F}", "A\n", "3"),
    "backticks mentioned later": (f"{F}python\nA\n{F}\nRemove the {F} marks.", "A\n", None),
    "not closed": (f"{F}python\nA", None, None),
    "in one line": (f"{F}A{F}", None, None),
    "no block": ("print(1)", None, None),
    "indented": (f"  {F}python\n  A\n  {F}", "A\n", "  A"),
    "tildes": ("~~~python\nA\n~~~", "A\n", None),
    "a draft in unfinished reasoning": (f"<think>\n{F}python\nA\n{F}\nwait", None, "A"),
    "carriage returns": (f"{F}python\r\nA\r\n{F}\r\n", "A\n", "A\r"),
}
STYLES: dict[str, str] = {
    "livecodebench": "OpenAIChat",
    "livecodebench-user": "OpenAIReasonPreview",
    "livecodebench-main": "OpenAIReason",
    "livecodebench-claude": "Claude3",
    "livecodebench-claude-2": "Claude",
    "livecodebench-gemini": "Gemini",
    "livecodebench-gemini-thinking": "GeminiThinking",
    "livecodebench-deepseek-coder": "DeepSeekCodeInstruct",
    "livecodebench-codeqwen": "CodeQwenInstruct",
    "livecodebench-qwq": "QwQ",
    "livecodebench-r1": "DeepSeekR1",
}
STARTERS = ("", "class Solution:\n    def f(self, x: int) -> int:\n        ")
CHECKOUT = os.environ.get("XCODER_LIVECODEBENCH_CHECKOUT")
needs_checkout = pytest.mark.skipif(CHECKOUT is None, reason="XCODER_LIVECODEBENCH_CHECKOUT names no checkout")


@pytest.mark.parametrize("name", ANSWERS)
def test_each_rule_takes_what_it_says(name: str) -> None:
    completion, ours, official = ANSWERS[name]
    assert extractor("last_block")(completion) == ours
    # An empty block of "backticks mentioned later" lies between the fence's end and the mention: no program.
    assert extractor("livecodebench")(completion) == official
    assert extractor("given")(completion) == completion


def load(module: str) -> Any:
    """A module of the checkout without the packages above it, whose own imports are not needed."""
    assert CHECKOUT is not None
    spec = importlib.util.spec_from_file_location(module, Path(CHECKOUT, *module.split(".")).with_suffix(".py"))
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[module] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.slow
@needs_checkout
def test_the_official_code_extracts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lcb_runner", types.ModuleType("lcb_runner"))
    styles = load("lcb_runner.lm_styles")
    official = load("lcb_runner.utils.extraction_utils").extract_code
    for completion, _, _ in ANSWERS.values():
        assert (between_last_fences(completion) or "") == official(completion, styles.LMStyle.OpenAIChat)


def official_prompt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Any]:
    """The official function from a question and the name of a family to its prompt."""
    assert CHECKOUT is not None
    monkeypatch.chdir(CHECKOUT)  # it reads its examples from there
    for name in ("lcb_runner", "lcb_runner.benchmarks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    styles = load("lcb_runner.lm_styles")
    stand_in: Any = types.ModuleType("lcb_runner.benchmarks.code_generation")
    stand_in.CodeGenerationProblem = object
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    ask = load("lcb_runner.prompts.code_generation").format_prompt_generation
    return lambda question, family: ask(question, styles.LMStyle[family])


@pytest.mark.slow
@needs_checkout
@pytest.mark.parametrize("starter", STARTERS)
def test_the_official_code_shows_base_models_the_same_text(starter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHECKOUT is not None
    question = types.SimpleNamespace(question_content="Add {a} and b.", starter_code=starter)
    problem = Problem("0", question.question_content, "x", "stdin", None, starter or None)
    ((message,), stop) = evaluation_prompt(problem, FEW_SHOT, load_examples(Path(CHECKOUT, WHERE)))
    assert message["content"] == official_prompt(monkeypatch)(question, "GenericBase")
    assert stop == ("###",)
    base = load("lcb_runner.lm_styles").LMStyle.GenericBase
    official = load("lcb_runner.utils.extraction_utils").extract_code
    for completion, _, _ in ANSWERS.values():
        assert (extractor(FEW_SHOT)(completion) or "") == official(completion, base)


@pytest.mark.slow
@needs_checkout
def test_every_official_family_that_has_a_prompt_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = official_prompt(monkeypatch)
    question = types.SimpleNamespace(question_content="Q", starter_code="")
    asked, needing_downloads = set(), {"LLaMa3"}
    for family in load("lcb_runner.lm_styles").LMStyle.__members__.keys() - needing_downloads:
        with suppress(NotImplementedError):
            ask(question, family)
            asked.add(family)
    same_as_chat = {"DeepSeekAPI", "TogetherAI", "CohereCommand", "MistralWeb"}
    same_as_another = {"Grok", "Claude3Thinking"}
    assert asked - same_as_chat - same_as_another == {*STYLES.values(), "GenericBase"}
    assert all(ask(question, family) == ask(question, "OpenAIChat") for family in same_as_chat)


@pytest.mark.slow
@needs_checkout
@pytest.mark.parametrize("style", STYLES)
def test_the_official_code_asks_in_the_same_words(style: PromptStyle, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = official_prompt(monkeypatch)
    for starter in STARTERS:
        question = types.SimpleNamespace(question_content="Add {a} and b.", starter_code=starter)
        problem = Problem("0", question.question_content, "x", "stdin", None, starter or None)
        messages = render_prompt(problem, style)
        theirs = ask(question, STYLES[style])
        system = messages[0]["content"] if len(messages) == 2 else None
        user = messages[-1]["content"]
        if style == "livecodebench-claude":
            assert theirs == (system, [{"role": "user", "content": user}])
        elif style == "livecodebench-claude-2":
            assert theirs.partition("\n")[2].rpartition("\n")[0] == user  # between its client's marks of the turns
        elif isinstance(theirs, list):
            assert theirs == messages
        elif style in ("livecodebench-codeqwen", "livecodebench-qwq"):
            turns = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
            assert theirs == f"{turns}<|im_start|>assistant\n"
        elif style == "livecodebench-r1":
            assert theirs == f"<｜begin▁of▁sentence｜>{system}<｜User｜>{user}<｜Assistant｜>"
        else:
            assert theirs == (user if system is None else f"{system}\n\n{user}")
