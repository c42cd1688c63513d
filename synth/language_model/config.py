"""Settings of a language model as the teacher: which model, how it is asked, and what its answers are to take."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from xcoder_core.models.settings import GenerationSettings, SamplingSettings, ServerSettings
from xcoder_core.settings import Settings


class TeacherSampling(Settings):
    """How answers are sampled, for each kind of question."""

    tasks: SamplingSettings = SamplingSettings(temperature=0.7, top_p=0.8, top_k=20)
    """Questions that select features, and that write statements."""

    inputs: SamplingSettings = SamplingSettings(temperature=0.6, top_p=0.95, top_k=20)
    """Test inputs, generator programs, validators and brute-force solutions."""

    solutions: SamplingSettings = SamplingSettings(temperature=0.6, top_p=0.95, top_k=20)
    """Candidate solutions."""


class TaskSettings(Settings):
    """How a language model is asked for tasks."""

    stages: Literal[1, 2] = 2
    """2: one question selects features that fit together and says how to combine them, a second one writes the
    statement (X-Coder, section 3). 1: one question writes the statement from the whole subtree, for the ablation."""


class InputSettings(Settings):
    """How a language model is asked for test inputs. Programs that it writes run in the judge's sandbox."""

    generated_share: float = Field(default=0.5, ge=0, le=1)
    """Share of a task's inputs that a generator program prints; the others are written out by the model."""

    validator: bool = True
    """Ask for a program that checks inputs against the statement, and drop the inputs that it refuses."""

    brute_force: bool = True
    """Ask for a slow and simple solution, which votes on the smaller half of a task's inputs."""

    largest_kib: int = Field(default=1024, ge=1, le=1 << 20)
    """Inputs above this size are dropped, in KiB."""

    limit_seconds: float = Field(default=10.0, gt=0)
    """CPU seconds that one run of a generator or a validator may take; its memory limit is 1 GiB."""


class SolutionSettings(Settings):
    """Which answers of a language model count as candidate solutions."""

    tokens: tuple[int, int] | None = None
    """Fewest and most tokens of a completion, reasoning included, such as [200, 25000]; others are set aside."""

    @model_validator(mode="after")
    def _token_range_is_one(self) -> "SolutionSettings":
        if self.tokens is not None and not 0 <= self.tokens[0] <= self.tokens[1]:
            raise ValueError(f"tokens is [fewest, most], such as [200, 25000]; found {list(self.tokens)}")
        return self


class OpenAITeacherSettings(Settings):
    """A model behind an OpenAI-compatible server: vLLM, SGLang, or a hosted one."""

    kind: Literal["openai"]
    """Chooses this teacher."""

    server: ServerSettings
    """Where the server is and how it is asked."""

    sampling: TeacherSampling = TeacherSampling()

    @model_validator(mode="after")
    def _model_is_named(self) -> "OpenAITeacherSettings":
        if self.server.model is None:
            raise ValueError("server.model is needed: the name under which the server knows the teacher")
        return self


class LocalTeacherSettings(Settings):
    """A model that this process loads: through vLLM (a GPU and the extra of that name), or transformers (anywhere)."""

    kind: Literal["vllm", "transformers"]
    """Chooses this teacher, and what it runs on."""

    model: str
    """Hub name or folder."""

    generation: GenerationSettings = GenerationSettings()
    """Batches, GPU memory, parallelism; `backend` follows from `kind`."""

    sampling: TeacherSampling = TeacherSampling()

    @model_validator(mode="after")
    def _kind_decides_the_backend(self) -> "LocalTeacherSettings":
        default = type(self).model_fields["generation"].default.backend
        if self.generation.backend not in (default, self.kind) or self.generation.openai is not None:
            raise ValueError(
                f"`kind: {self.kind}` decides what the teacher runs on; leave `generation.backend` and "
                "`generation.openai` out, or take `kind: openai` with a `server`"
            )
        return self


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
    """What one answer of the teacher and one execution are expected to take. A small run gives better figures."""

    measured_in: Path | None = None
    """Folder of a finished synthesis (or of its run) with the same teacher, such as one of 50 tasks. Its averages
    replace the fields below, except for `execution_cpu_seconds` if it has no measured times."""

    completion_tokens: dict[QuestionName, float] = TOKENS
    """Tokens of an answer, reasoning included, by question. Solutions: about the mean of X-Coder's SFT set (17,742)."""

    statement_tokens: float = Field(default=660, gt=0)
    """Tokens of a task's statement, which most prompts show. The mean of X-Coder's SFT set is 659."""

    selection_tokens: float = Field(default=400, gt=0)
    """Tokens of the chosen features, their uses and the strategy, which the prompt for the statement shows."""

    characters_per_token: float = Field(default=4.0, gt=0)
    """Characters of a token in the fixed text of the prompts."""

    second_tries: float = Field(default=0.05, ge=0, lt=1)
    """Share of answers that cannot be read and are asked for once more."""

    execution_cpu_seconds: float = Field(default=0.1, gt=0)
    """CPU seconds of one program on one input."""

    @field_validator("completion_tokens")
    @classmethod
    def _every_question_has_its_tokens(cls, tokens: dict[QuestionName, float]) -> dict[QuestionName, float]:
        return TOKENS | tokens
