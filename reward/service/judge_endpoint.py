"""Our own endpoint, `POST /v1/judge`: submissions and verdicts as in the file interface, many in one request."""

from typing import Annotated

from fastapi import FastAPI, Response
from pydantic import BaseModel, FailFast, Field

from reward.config import ServiceSettings
from reward.service.answers import check_limit, json_answer, wrong_field
from reward.service.queueing import Queue
from reward.submission import Record, Submission, SubmissionRecord
from reward.verdict import Judgement
from xcoder_core.errors import InputError


class JudgeBody(Record):
    """Submissions to judge; with `stop_at_first_failure` a program's tests after a failed one do not run."""

    submissions: Annotated[list[SubmissionRecord], FailFast()] = Field(min_length=1)
    stop_at_first_failure: bool = False


class JudgeAnswer(BaseModel):
    """Verdicts in the order of the submissions. IE is a fault of ours: nothing is known about the program."""

    verdicts: list[Judgement]


def add_judge_endpoint(app: FastAPI, queue: Queue, settings: ServiceSettings) -> None:
    """Add `POST /v1/judge`."""

    @app.post("/v1/judge", response_model=JudgeAnswer, tags=["judge"])
    async def judge(body: JudgeBody) -> Response:
        """Judge programs against tests."""
        submissions = [_submission(index, each, settings) for index, each in enumerate(body.submissions)]
        judgements = await queue.judge_all(
            submissions, stop_at_first_failure=body.stop_at_first_failure, deadline_seconds=settings.deadline_seconds
        )
        return json_answer({"verdicts": [each.to_json() | {"message": each.message} for each in judgements]})


def _submission(index: int, body: SubmissionRecord, settings: ServiceSettings) -> Submission:
    place = ("submissions", index)
    check_limit(body.limits.seconds, settings.max_seconds, "seconds", (*place, "limits", "seconds"))
    check_limit(body.limits.memory_mib, settings.max_memory_mib, "MiB", (*place, "limits", "memory_mib"))
    try:
        return body.submission()
    except InputError as error:
        raise wrong_field(place, str(error)) from error
