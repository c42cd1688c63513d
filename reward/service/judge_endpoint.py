"""Our own endpoint, `POST /v1/judge`: submissions and verdicts as in the file interface, many in one request."""

from typing import Annotated, Any

from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from reward.service.answers import FieldError, json_answer
from reward.service.config import ServiceSettings
from reward.service.queueing import Queue
from reward.submission import Submission, check_values
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits

MOST_FIELDS = 100
"""Of one object in a request; far more than any has that is meant."""


class Body(BaseModel):
    """Part of a request: unknown fields are errors, and text is not taken for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_not_many_fields(cls, value: Any) -> Any:
        """Each unknown one is an error of its own, and takes a hundred times its room in the request."""
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise ValueError(f"has {len(value)} fields; known are {', '.join(cls.model_fields)}")
        return value


class TestBody(Body):
    """One test: what the program reads, and what it must print (or return, for a function problem)."""

    __test__ = False

    input: str
    expected: str


class LimitsBody(Body):
    """What one test may use: seconds of CPU time, MiB of memory."""

    seconds: float = Limits().seconds
    memory_mib: int = Limits().memory_mib


class SubmissionBody(Body):
    """One line of the file interface. A function problem's tests hold one JSON value per line."""

    id: str
    language: str = "python"
    code: str
    function_name: str | None = None
    tests: Annotated[list[TestBody], FailFast()] = Field(min_length=1)
    limits: LimitsBody = LimitsBody()


class JudgeBody(Body):
    """Submissions to judge; with `stop_at_first_failure` a program's tests after a failed one do not run."""

    submissions: Annotated[list[SubmissionBody], FailFast()] = Field(min_length=1)
    stop_at_first_failure: bool = False


class TestVerdict(BaseModel):
    """One test that ran."""

    __test__ = False

    verdict: str
    cpu_seconds: float
    wall_seconds: float
    memory_mib: float


class VerdictAnswer(BaseModel):
    """A verdict line of the file interface, and for CE and IE why. IE is a fault of ours: nothing is known."""

    id: str
    verdict: str
    passed: int
    total: int
    tests: list[TestVerdict]
    tier: str
    policy: str
    message: str


class JudgeAnswer(BaseModel):
    """Verdicts in the order of the submissions."""

    verdicts: list[VerdictAnswer]


def add_judge_endpoint(app: FastAPI, queue: Queue, settings: ServiceSettings) -> None:
    """Add `POST /v1/judge`."""

    @app.post("/v1/judge", response_model=JudgeAnswer, tags=["judge"])
    async def judge(body: JudgeBody) -> Response:
        """Judge programs against tests."""
        submissions = [_submission(index, each, settings) for index, each in enumerate(body.submissions)]
        judgements = await queue.judge_all(
            submissions,
            stop_at_first_failure=body.stop_at_first_failure,
            deadline_seconds=settings.deadline_seconds,
        )
        return json_answer({"verdicts": [each.to_json() | {"message": each.message} for each in judgements]})


def _submission(index: int, body: SubmissionBody, settings: ServiceSettings) -> Submission:
    place = ("submissions", index)
    if body.limits.seconds > settings.max_seconds:
        raise FieldError((*place, "limits", "seconds"), f"at most {settings.max_seconds:g} seconds are given here")
    if body.limits.memory_mib > settings.max_memory_mib:
        raise FieldError((*place, "limits", "memory_mib"), f"at most {settings.max_memory_mib} MiB are given here")
    try:
        submission = Submission(
            id=body.id,
            code=body.code,
            inputs=tuple(test.input for test in body.tests),
            expected=tuple(test.expected for test in body.tests),
            function_name=body.function_name,
            limits=Limits(body.limits.seconds, body.limits.memory_mib),
            language=body.language,
        )
        if body.function_name is not None:
            check_values(submission.inputs, [test.expected for test in body.tests])
        return submission
    except InputError as error:
        raise FieldError(place, str(error)) from error
