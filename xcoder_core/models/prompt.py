"""The one place where a problem becomes what a model reads, the same in SFT, GRPO and evaluation."""

from collections.abc import Set
from dataclasses import dataclass
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

_TASK = (
    "You will be given a question (problem specification) and will generate a correct Python program that matches the "
    "specification and passes all tests."
)
_EXPERT = f"You are an expert Python programmer. {_TASK}"
_ONLY_THE_PROGRAM = f"{_TASK} You will NOT return anything except for the program."
_GEMINI = (
    f"{_EXPERT} Do NOT use system calls like `exit` in the generated program. Ensure that the first code block "
    "contains the solution."
)
_DEEPSEEK_CODER = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek Company, and you "
    "answer questions related to computer science."
)
_QWQ = "You are a helpful and harmless assistant. You are Qwen developed by Alibaba. You should think step-by-step."
_R1 = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
    "reasoning process here </think> <answer> answer here </answer>."
)
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it reads the "
    "inputs, runs the algorithm and writes output to STDOUT."
)
_WITH_MAIN = (
    "Implement a function called `main()` which orchastrates the solution by reading inputs from stdin and writing the "
    "answer to stdout. Feel free to use additional functions as necessary. Next do NOT forget to call `main` function "
    "at the end of the program otherwise you will not be awarded any points."
)
_ANSWER = "### Answer: (use the provided format with backticks)\n\n"


@dataclass(frozen=True)
class _Wording:
    """How a family is asked. `user` has the places {statement}, {form} and {code}; a starter code takes the place of
    `without_starter` and of the empty program."""

    user: str
    system: str | None = None
    without_starter: str = _WITHOUT_STARTER


_GENERIC = "### Question:\n{statement}\n\n### Format: {form}\n```python\n{code}\n```\n\n" + _ANSWER
_QUESTION = "Question: {statement}\n\n{form}\n```python\n{code}\n```\n\n"
_WORDINGS: dict[str, _Wording] = {
    "livecodebench": _Wording(_GENERIC, _EXPERT),
    "livecodebench-user": _Wording(f"{_EXPERT}\n\n{_GENERIC}"),
    "livecodebench-main": _Wording(f"{_EXPERT}\n\n{_GENERIC}", without_starter=_WITH_MAIN),
    "livecodebench-claude": _Wording(_GENERIC.rstrip(), _EXPERT),
    "livecodebench-claude-2": _Wording(f"{_EXPERT}\n\n{_GENERIC.rstrip()}"),
    "livecodebench-gemini": _Wording(f"{_GEMINI}\n{_GENERIC}"),
    "livecodebench-gemini-thinking": _Wording(f"{_EXPERT}\n{_GENERIC}"),
    "livecodebench-deepseek-coder": _Wording(
        f"### Instruction: {_ONLY_THE_PROGRAM}\n\nQuestion:\n{{statement}}\n\n### Instruction: {{form}}\n"
        "```python\n{code}\n```\n\n### Response:\n\n",
        _DEEPSEEK_CODER,
    ),
    "livecodebench-codeqwen": _Wording(f"\n{_ONLY_THE_PROGRAM}\n\n{_QUESTION}", "You are a helpful assistant."),
    "livecodebench-qwq": _Wording(f"\n{_TASK}\n\n{_QUESTION}", _QWQ),
    "livecodebench-r1": _Wording(f"{_TASK}\n\n{_QUESTION}", _R1),
}


def render_prompt(problem: Problem, style: PromptStyle) -> list[Message]:
    """The messages of a problem.

    `plain` is the statement and nothing else (a function problem's starter code follows it); the others wrap it as
    LiveCodeBench does for a family of models, whose wording, with its slips, is part of the benchmark.
    """
    if style == "plain":
        content = (
            problem.statement if problem.starter_code is None else f"{problem.statement}\n\n{problem.starter_code}"
        )
        return [{"role": "user", "content": content}]
    wording = _WORDINGS[style]
    if problem.starter_code is None:
        form, code = wording.without_starter, "# YOUR CODE HERE"
    else:
        form, code = _WITH_STARTER, problem.starter_code
    content = wording.user.format(statement=problem.statement, form=form, code=code)
    system = [] if wording.system is None else [{"role": "system", "content": wording.system}]
    return [*system, {"role": "user", "content": content}]


def render_prompts(layout: SynthLayout, problem_ids: Set[str], style: PromptStyle) -> dict[str, list[Message]]:
    """The messages of these problems of a finished synthesis, by problem_id."""
    problems = read_records(layout.problems, Problem)
    return {
        problem.problem_id: render_prompt(problem, style) for problem in problems if problem.problem_id in problem_ids
    }


def code_response(code: str) -> str:
    """The whole completion that holds nothing but a program, in the form that extraction reads back."""
    return f"```python\n{code.rstrip()}\n```"
