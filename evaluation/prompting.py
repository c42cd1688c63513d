"""How a model is asked, and which part of its answer is the program. Both are named beside every score: they move it.

Problems are worded as in training (`xcoder_core.models.prompt`), or for base models by LiveCodeBench's prompt: a solved
example and then the problem, as one text that the model continues. The examples are LiveCodeBench's own and come from
its files `func.json` and `stdin.json`, of which the first entry is shown. A completion ends where the model begins
another question.

Of the rules for the program, `last_block` is the project's own, the one that rewards use (`reward.extract`).
`livecodebench` is the official rule: whatever stands between the last two lines that contain three backticks, no matter
whether they open or close. `livecodebench-base` is the official rule for base models: all of the text.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from evaluation.evalplus import STOP as STOP_OF_A_FUNCTION
from evaluation.evalplus import STYLE as EVALPLUS
from evaluation.evalplus import WORDING
from reward.extract import extract_code
from xcoder_core.errors import InputError
from xcoder_core.models.prompt import CONTINUATION, Message, PromptStyle, render_prompt
from xcoder_core.problem import Problem

FEW_SHOT: Final = "livecodebench-base"
STOP = ("###",)
EvaluationPrompt = Literal[PromptStyle, "livecodebench-base"]
FUNCTION_FILE, STDIN_FILE = "func.json", "stdin.json"
WHERE = "lcb_runner/prompts/few_shot_examples/generation"


@dataclass(frozen=True)
class Example:
    """A question and its program. A function problem's `starter_code` stands between them."""

    question: str
    starter_code: str | None
    answer: str


@dataclass(frozen=True)
class FewShotExamples:
    """The example before function problems, and the one before those that read standard input."""

    function: Example
    stdin: Example


def load_examples(folder: Path) -> FewShotExamples:
    """The examples in LiveCodeBench's folder. Raises InputError where they are not there."""
    return FewShotExamples(_example(folder / FUNCTION_FILE, has_starter=True), _example(folder / STDIN_FILE))


def examples_identity(folder: Path) -> str:
    """What tells these examples from others."""
    return hashlib.sha256(repr(load_examples(folder)).encode()).hexdigest()[:16]


def evaluation_prompt(
    problem: Problem, style: EvaluationPrompt, examples: FewShotExamples | None
) -> tuple[list[Message], tuple[str, ...]]:
    """What a model is asked, and the texts that end its answer. Only the few-shot prompt needs the examples."""
    if problem.style == EVALPLUS:
        if style == FEW_SHOT:
            return [{"role": CONTINUATION, "content": f"{problem.statement}\n"}], STOP_OF_A_FUNCTION
        return [{"role": "user", "content": WORDING.format(statement=problem.statement)}], ()
    if style != FEW_SHOT:
        return render_prompt(problem, style), ()
    assert examples is not None, "the settings ask for the examples' folder"
    shown = examples.stdin if problem.starter_code is None else examples.function
    asked = Example(problem.statement, problem.starter_code, "")
    return [{"role": CONTINUATION, "content": _text(shown) + _text(asked)}], STOP


def _text(example: Example) -> str:
    starter = "" if example.starter_code is None else f"### Starter Code\n{example.starter_code}\n\n"
    answer = example.answer and f"{example.answer}\n\n"
    return f"### Question\n{example.question}\n\n{starter}### Answer\n\n{answer}"


def _example(path: Path, has_starter: bool = False) -> Example:
    names = ["question", *(["sample_code"] if has_starter else []), "answer"]
    try:
        first = json.loads(path.read_text(encoding="utf-8-sig"))[0]
        texts = {name: first[name] for name in names}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} holds no example for the prompt {FEW_SHOT} ({error!r}); expected a list of objects with "
            f"{', '.join(names)}. Set evaluation.few_shot_folder to {WHERE} of a checkout of LiveCodeBench."
        ) from error
    return Example(texts["question"], texts.get("sample_code"), texts["answer"])


Extraction = Literal["last_block", "livecodebench", "livecodebench-base", "given"]
FENCE = "```"


def extractor(policy: Extraction) -> Callable[[str], str | None]:
    """Completion to program, or None where there is none. `given` takes the text for the program that it is."""
    rules: dict[Extraction, Callable[[str], str | None]] = {
        "last_block": extract_code,
        "livecodebench": between_last_fences,
        "livecodebench-base": lambda completion: completion.strip() or None,
        "given": lambda text: text or None,
    }
    return rules[policy]


def between_last_fences(completion: str) -> str | None:
    """The official rule for chat models. An empty text is no program, as the official checker has it."""
    lines = completion.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) or None if len(fences) > 1 else None
