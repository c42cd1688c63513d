"""What `xcoder plan` reckons with before anything was asked: token counts, second tries, and CPU time, as settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xcoder_core.settings import Settings

QuestionName = Literal[
    "select_features",
    "write_task",
    "write_inputs",
    "write_generator",
    "write_validator",
    "write_brute_force",
    "write_solution",
]

TOKENS: dict[QuestionName, float] = {
    "select_features": 3000,
    "write_task": 6000,
    "write_inputs": 3000,
    "write_generator": 4000,
    "write_validator": 3000,
    "write_brute_force": 5000,
    "write_solution": 17_700,
}


class ExpectedSettings(Settings):
    """What one answer of the teacher and one execution are expected to take. A small run measures it better."""

    measured_in: Path | None = None
    """Folder of a finished synthesis, or of its run, with the same teacher, such as one of 50 tasks: its averages are
    used, and of the fields below only `execution_cpu_seconds`, where its times are not there."""

    completion_tokens: dict[QuestionName, float] = TOKENS
    """Tokens of an answer, reasoning included, for each question. Solutions: the mean of X-Coder's SFT set (17,742)."""

    statement_tokens: float = Field(default=660, gt=0)
    """Tokens of a task's statement, which most prompts show. The mean of X-Coder's SFT set is 659."""

    selection_tokens: float = Field(default=400, gt=0)
    """Tokens of the chosen features, their uses and the strategy, which the prompt for the statement shows."""

    characters_per_token: float = Field(default=4.0, gt=0)
    """For the fixed text of the prompts."""

    second_tries: float = Field(default=0.05, ge=0, lt=1)
    """Share of answers that cannot be read and are asked for once more."""

    execution_cpu_seconds: float = Field(default=0.1, gt=0)
    """CPU seconds of one program on one input."""

    @model_validator(mode="after")
    def _every_question_has_its_tokens(self) -> "ExpectedSettings":
        missing = [name for name in TOKENS if name not in self.completion_tokens]
        if missing:
            self.completion_tokens.update({name: TOKENS[name] for name in missing})
        return self
