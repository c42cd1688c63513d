"""The application: every endpoint, its OpenAPI page at `/docs`, health and metrics, behind one guard.

Our own endpoint, `POST /v1/judge`, takes submissions as the file interface does, many in one request.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, FailFast, Field

from reward.config import ServiceSettings
from reward.executor import Executor
from reward.service.answers import add_refusals, check_limit, json_answer, wrong_field
from reward.service.code_judge import add_code_judge
from reward.service.guard import Guard
from reward.service.piston import add_piston
from reward.service.queueing import Metrics, Queue
from reward.service.sandbox_fusion import add_sandbox_fusion
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


def create_app(judge: Executor, settings: ServiceSettings, token: str | None) -> Guard:
    """The ASGI application over `judge`, which it closes when it ends. `token` None lets everyone in."""
    metrics = Metrics(judge.workers, settings.queue_tests)
    queue = Queue(judge, settings, metrics)

    @asynccontextmanager
    async def close_at_the_end(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(judge.close)

    app = FastAPI(
        title="xcoder judge",
        summary="Verdicts on programs that run in a sandbox.",
        lifespan=close_at_the_end,
        redoc_url=None,
    )
    add_refusals(app)
    add_sandbox_fusion(app, queue, settings)
    add_code_judge(app, queue, settings)
    add_piston(app, queue, settings)

    @app.post("/v1/judge", response_model=JudgeAnswer, tags=["judge"])
    async def judge_programs(body: JudgeBody) -> Response:
        """Judge programs against tests."""
        submissions = [_submission(index, each, settings) for index, each in enumerate(body.submissions)]
        judgements = await queue.judge_all(
            submissions, stop_at_first_failure=body.stop_at_first_failure, deadline_seconds=settings.deadline_seconds
        )
        return json_answer({"verdicts": [each.to_json() | {"message": each.message} for each in judgements]})

    @app.get("/health", tags=["operation"])
    async def health() -> Response:
        """Status 200 while programs can be judged, else 503."""
        state = {"status": "ok" if judge.is_alive else "ending", "tier": judge.tier, "workers": judge.workers}
        return json_answer(state, 200 if judge.is_alive else 503)

    @app.get("/metrics", tags=["operation"])
    async def exposition() -> Response:
        """Counts and times in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    endpoints = {route.path for route in app.routes if isinstance(route, APIRoute)}
    return Guard(app, queue, token, metrics, settings, endpoints)


def _submission(index: int, body: SubmissionRecord, settings: ServiceSettings) -> Submission:
    place = ("submissions", index)
    check_limit(body.limits.seconds, settings.max_seconds, "seconds", (*place, "limits", "seconds"))
    check_limit(body.limits.memory_mib, settings.max_memory_mib, "MiB", (*place, "limits", "memory_mib"))
    try:
        return body.submission()
    except InputError as error:
        raise wrong_field(place, str(error)) from error
