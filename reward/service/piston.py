"""Piston's `POST /api/v2/execute` as open-r1's CodeForces reward speaks it: one Python program against one test.

The original runs the package `codeforces`, whose answer is "1" on standard output where the program's output is right.
Here the expected output stays in this process. Words are compared, "yes" and "no" in either case, as that package
does it; a problem with a checker of its own, or one that reads and writes files, is refused.
"""

import platform
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel, FailFast, Field

from reward.config import ServiceSettings
from reward.service.answers import json_answer, wrong_field
from reward.service.queueing import Queue
from reward.submission import Submission
from reward.verdict import Verdict
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.problem import Limits

LANGUAGE = "cf_python3"
TEST_FILES = {"input.txt", "correct_output.txt", "grader_config", "checker.py"}
YES_OR_NO = re.compile(r"\b(?:yes|no)\b", re.IGNORECASE)
TIMED_OUT = 124
"""Exit status by which the package tells that time ran out, as coreutils' `timeout` does."""


class SentFile(BaseModel):
    """The program, its input, the expected output, or the limits."""

    name: str
    content: str


class ExecuteRequest(BaseModel):
    """A program and its test. The limits stand in the file `grader_config`; `run_timeout` (ms) is the fallback."""

    language: Literal["cf_python3"]
    version: str = "*"
    files: Annotated[list[SentFile], FailFast()] = Field(min_length=1)
    run_timeout: float = Field(default=10_000, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Stage:
    """How a stage ended; of standard error its end."""

    code: int
    signal: str | None
    stdout: str
    stderr: str
    output: str


@dataclass(frozen=True)
class ExecuteResponse:
    """`run.stdout` is "1" for a right output, "0" for a wrong one, and the output itself where none was expected."""

    language: str
    version: str
    compile: Stage
    run: Stage


def add_piston(app: FastAPI, queue: Queue, settings: ServiceSettings) -> None:
    """Add `POST /api/v2/execute` and `GET /api/v2/runtimes`."""

    @app.get("/api/v2/runtimes", tags=["Piston"])
    async def runtimes() -> list[dict[str, object]]:
        """The one language that is run."""
        return [{"language": "python3", "version": platform.python_version(), "aliases": [LANGUAGE]}]

    @app.post("/api/v2/execute", response_model=ExecuteResponse, tags=["Piston"])
    async def execute(body: ExecuteRequest) -> Response:
        """Run a program on one test."""
        files = {file.name: file.content for file in body.files}
        submission = _submission(body, files, settings)
        run = await queue.execute_one(submission, deadline_seconds=settings.deadline_seconds)
        if run.status == Verdict.IE:  # an answer in the original's form would count as a failed test
            raise InfrastructureError(run.error)
        printed = run.stdout
        if (expected := files.get("correct_output.txt")) is not None:
            printed = "1\n" if run.status == "OK" and _canonical(run.stdout) == _canonical(expected) else "0\n"
        compiling = _stage(0, "", "")  # as in the original: a SyntaxError is an error of the run
        code = TIMED_OUT if run.status == Verdict.TLE else run.exit_status
        running = _stage(code, printed, run.error)
        return json_answer(ExecuteResponse(LANGUAGE, platform.python_version(), compiling, running))


def _submission(body: ExecuteRequest, files: dict[str, str], settings: ServiceSettings) -> Submission:
    programs = [name for name in files if name not in TEST_FILES]
    if len(programs) != 1:
        raise wrong_field(("files",), f"expected one program beside {', '.join(sorted(TEST_FILES))}, found {programs}")
    config = dict(line.split("=", 1) for line in files.get("grader_config", "").splitlines() if "=" in line)
    if "checker.py" in files or config.get("INPUT_MODE", "stdio") == "file":
        raise wrong_field(("files",), "a checker.py and INPUT_MODE=file are not supported: leave such problems out")
    try:
        limits = Limits(
            seconds=float(config.get("TIME_LIMIT", body.run_timeout / 1000)),
            memory_mib=round(float(config.get("MEMORY_LIMIT", Limits().memory_mib))),
        )
        if limits.seconds > settings.max_seconds or limits.memory_mib > settings.max_memory_mib:
            raise InputError(f"at most {settings.max_seconds:g} s and {settings.max_memory_mib} MiB are given here")
        given = files.get("input.txt", "").replace("\r\n", "\n")
        return Submission("execute", files[programs[0]], (given,), (None,), limits=limits)
    except (ValueError, OverflowError) as error:  # InputError is a ValueError
        raise wrong_field(("files",), f"grader_config: {error}") from error


def _canonical(text: str) -> list[str]:
    return YES_OR_NO.sub(lambda word: word[0].upper(), text).split()


def _stage(code: int, stdout: str, stderr: str) -> Stage:
    return Stage(code, None, stdout, stderr, stdout + stderr)
