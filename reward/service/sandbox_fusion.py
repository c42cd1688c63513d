"""SandboxFusion's `POST /run_code`, as its own client and verl's speak it: one program, one input, its output back.

What differs from the original: `run_timeout` bounds CPU time, and wall-clock time only as the judge's settings say;
Python and C++ alone are run; a program finds no files, so `files` must be empty and `fetch_files` yields none; of
standard error the last 2,000 bytes come back.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel, FailFast, Field

from reward.compiler import PYTHON
from reward.config import ServiceSettings
from reward.service.answers import check_limit, json_answer, wrong_field
from reward.service.queueing import Queue
from reward.submission import Submission
from reward.verdict import Run, Verdict
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits

DEFAULT_MEMORY_MIB = 1024
"""Where the request sets no limit; verl's own default."""
PATIENCE_SECONDS = 8.0
"""verl's client waits compile_timeout + run_timeout + 10 s, and tries again after a 504, never after its own timeout.
So a request that waited too long is answered just before the client gives up."""


class RunCodeRequest(BaseModel):
    """A program to run."""

    code: str
    language: Literal["python", "cpp"]
    stdin: str | None = None
    run_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    compile_timeout: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    memory_limit_MB: int = -1
    files: dict[str, object] = {}  # none are taken, so what they hold is not looked at
    fetch_files: Annotated[list[str], FailFast()] = []


@dataclass(frozen=True)
class CommandRunResult:
    """How the program ended. `execution_time` is wall-clock seconds; `return_code` is None where it ran out of time."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


@dataclass(frozen=True)
class RunCodeResponse:
    """`SandboxError` is a fault of ours: nothing is known about the program."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def add_sandbox_fusion(app: FastAPI, queue: Queue, settings: ServiceSettings) -> None:
    """Add `POST /run_code` and `GET /v1/ping`."""

    @app.get("/v1/ping", tags=["SandboxFusion"])
    async def ping() -> str:
        """Answer "pong"."""
        return "pong"

    @app.post("/run_code", response_model=RunCodeResponse, tags=["SandboxFusion"])
    async def run_code(body: RunCodeRequest) -> Response:
        """Run a program on one input."""
        submission = _submission(body, settings)
        patience = min(settings.deadline_seconds, body.compile_timeout + body.run_timeout + PATIENCE_SECONDS)
        return json_answer(_answer(await queue.execute_one(submission, deadline_seconds=patience), body.language))


def _submission(body: RunCodeRequest, settings: ServiceSettings) -> Submission:
    if body.files:
        raise wrong_field(("files",), "programs find no files here: pass data by stdin")
    check_limit(body.run_timeout, settings.max_seconds, "seconds", ("run_timeout",))
    check_limit(body.memory_limit_MB, settings.max_memory_mib, "MiB", ("memory_limit_MB",))
    memory_mib = body.memory_limit_MB if body.memory_limit_MB > 0 else DEFAULT_MEMORY_MIB
    limits = Limits(body.run_timeout, memory_mib)
    try:
        return Submission("run_code", body.code, (body.stdin or "",), (None,), limits=limits, language=body.language)
    except InputError as error:
        raise wrong_field(("memory_limit_MB",), str(error)) from error


def _answer(run: Run, language: str) -> RunCodeResponse:
    if run.status == Verdict.IE:
        return RunCodeResponse("SandboxError", run.error)
    if run.status == Verdict.CE and language != PYTHON:  # Python's SyntaxError is an error of the run, as there
        compiling = CommandRunResult("Finished", return_code=1, stdout="", stderr=run.error)
        return RunCodeResponse("Failed", compile_result=compiling)
    out_of_time = run.status == Verdict.TLE
    result = CommandRunResult(
        "TimeLimitExceeded" if out_of_time else "Finished",
        run.wall_seconds,
        None if out_of_time else run.exit_status,
        run.stdout,
        run.error,
    )
    return RunCodeResponse("Success" if run.status == "OK" else "Failed", run_result=result)
