"""The one place where a problem becomes what a model reads, the same in SFT, GRPO and evaluation."""

import tomllib
from collections.abc import Set
from pathlib import Path
from typing import Literal

from xcoder_core.problem import Problem
from xcoder_core.records import read_records
from xcoder_core.stage import SynthLayout

PromptStyle = Literal[
    "plain",
    "livecodebench",
    "livecodebench-user",
    "livecodebench-main",
    "livecodebench-claude",
    "livecodebench-claude-2",
    "livecodebench-gemini",
    "livecodebench-gemini-thinking",
    "livecodebench-deepseek-coder",
    "livecodebench-codeqwen",
    "livecodebench-qwq",
    "livecodebench-r1",
]
"""`plain`, and LiveCodeBench's wording for each family of models: for chat models by default; in one user message
(OpenAI's first reasoning models, Grok); with a `main` function (OpenAI's later ones); and by the families' names.

A family's official prompt is a text with the marks of its own chat template in it; here the model's template puts them
there, so it is the same text where the template is the one that LiveCodeBench had in mind.
"""
Message = dict[str, str]
CONTINUATION = "continuation"
"""The role of a text that a base model continues. It is a prompt's only message, and no chat template surrounds it."""

NO_TEMPLATE = (
    "has no chat template, so prompts cannot be rendered. Name a file with one (model.chat_template: FILE.jinja), or "
    "use an instruct model"
)

_WORDINGS = tomllib.loads(Path(__file__).with_name("wordings.toml").read_text(encoding="utf-8"))


def render_prompt(problem: Problem, style: PromptStyle) -> list[Message]:
    """The messages of a problem.

    `plain` is the statement and nothing else (a function problem's starter code follows it); the others wrap it as
    LiveCodeBench does for a family of models, whose wording, with its slips, is part of the benchmark.
    """
    starter = problem.starter_code
    if style == "plain":
        content = problem.statement if starter is None else f"{problem.statement}\n\n{starter}"
        return [{"role": "user", "content": content}]
    wording = _WORDINGS[style]
    form = wording.get("without_starter", "without_starter") if starter is None else "with_starter"
    code = "# YOUR CODE HERE" if starter is None else starter
    texts = {"statement": problem.statement, "form": _WORDINGS["forms"][form], "code": code}
    for name, part in _WORDINGS["parts"].items():
        texts[name] = part.format_map(texts)
    roles = [role for role in ("system", "user") if role in wording]
    return [{"role": role, "content": wording[role].format_map(texts)} for role in roles]


def render_prompts(layout: SynthLayout, problem_ids: Set[str], style: PromptStyle) -> dict[str, list[Message]]:
    """The messages of these problems of a finished synthesis, by problem_id."""
    problems = read_records(layout.problems, Problem)
    return {
        problem.problem_id: render_prompt(problem, style) for problem in problems if problem.problem_id in problem_ids
    }


def code_response(code: str) -> str:
    """The whole completion that holds nothing but a program, in the form that extraction reads back."""
    return f"```python\n{code.rstrip()}\n```"
