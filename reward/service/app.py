"""The application: every endpoint, its OpenAPI page at `/docs`, health and metrics, behind one guard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from reward.config import ServiceSettings
from reward.executor import Executor
from reward.service.answers import add_refusals, json_answer
from reward.service.authentication import Authenticator
from reward.service.code_judge import add_code_judge
from reward.service.guard import Guard
from reward.service.judge_endpoint import add_judge_endpoint
from reward.service.piston import add_piston
from reward.service.queueing import Metrics, Queue
from reward.service.sandbox_fusion import add_sandbox_fusion


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
    add_judge_endpoint(app, queue, settings)
    add_sandbox_fusion(app, queue, settings)
    add_code_judge(app, queue, settings)
    add_piston(app, queue, settings)

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
    return Guard(app, queue, Authenticator(token), metrics, settings, endpoints)
