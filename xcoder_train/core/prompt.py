"""The one place where a problem becomes what a model reads, the same in SFT, GRPO and evaluation."""

from typing import Literal

from xcoder_train.core.problem import Problem

PromptStyle = Literal["plain", "livecodebench"]
Message = dict[str, str]

_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests."
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


def render_prompt(problem: Problem, style: PromptStyle) -> list[Message]:
    """The messages of a problem.

    `plain` is the statement and nothing else (a function problem's starter code follows it); `livecodebench` wraps it
    as LiveCodeBench does for chat models, whose wording is part of the benchmark.
    """
    if style == "plain":
        content = (
            problem.statement if problem.starter_code is None else f"{problem.statement}\n\n{problem.starter_code}"
        )
        return [{"role": "user", "content": content}]
    if problem.starter_code is None:
        form, fenced = _WITHOUT_STARTER, "# YOUR CODE HERE"
    else:
        form, fenced = _WITH_STARTER, problem.starter_code
    content = (
        f"### Question:\n{problem.statement}\n\n### Format: {form}\n```python\n{fenced}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": content}]


def code_response(code: str) -> str:
    """The whole completion that holds nothing but a program, in the form that extraction reads back."""
    return f"```python\n{code.rstrip()}\n```"
