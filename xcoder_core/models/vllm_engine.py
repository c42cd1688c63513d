"""What surrounds an engine of vLLM in our processes: its output, its words where it fails, its own processes."""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from xcoder_core.errors import EnvironmentLacks, InputError, XcoderError
from xcoder_core.parent_death import VLLM_ENDS_WITH_US

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    # A forked process takes over that plugins are loaded, and would not load ours (`pyproject.toml`).
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    VLLM_ENDS_WITH_US: "1",
}


def prepare_vllm() -> None:
    """Have vLLM tell errors alone, on standard error, and its processes end with ours; what a user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logger = logging.getLogger("vllm")  # set up already where TRL has imported it
    logger.setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


@contextmanager
def stdout_kept() -> Iterator[None]:
    """Within, what is written to standard output goes to standard error, also by processes that are started here."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def in_vllm_words() -> Iterator[None]:
    """Turn errors of vLLM into ours: settings that it refuses into InputError, all others into EnvironmentLacks.

    An error that never passed through vLLM's code is left alone.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, XcoderError) or not _came_through_vllm(error):
            raise
        if isinstance(error, ValidationError):
            said = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
            raise InputError(f"vLLM refuses these settings: {said}") from error
        raise EnvironmentLacks(
            f"vLLM failed: {type(error).__name__}: {error}. Lines of its own above may say more; what was finished is "
            "kept, and the same command continues"
        ) from error


def _came_through_vllm(error: Exception) -> bool:
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(re.match(r"vllm\b|trl\.generation\.vllm", str(frame.f_globals.get("__name__"))) for frame in frames)
