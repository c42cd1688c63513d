"""Whether rollouts by vLLM can work on this machine, told before a model is loaded."""

import importlib.metadata
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from xcoder_train.core.errors import EnvironmentLacks

LOWEST, HIGHEST = Version("0.22.0"), Version("0.31.0")
"""The versions that the pinned TRL works with, both inclusive (trl/import_utils.py)."""

SERVER_SECONDS = 240.0
"""How long a server may take to come up where `training.vllm_server_timeout` says nothing; TRL's own default."""


def check_vllm(generation: str, training: Mapping[str, Any], *, has_gpu: bool, model: str) -> None:
    """Raise `EnvironmentLacks` where the package, the GPU or the server for `generation: vllm_…` is missing."""
    check_version(_installed())
    if generation == "vllm_colocate" and not has_gpu:
        raise EnvironmentLacks(
            "grpo.generation is vllm_colocate, which needs a GPU, and there is none. Set grpo.generation: transformers"
        )
    if generation == "vllm_server":
        wait_for_server(server_url(training), float(training.get("vllm_server_timeout", SERVER_SECONDS)), model)


def check_version(installed: str | None) -> None:
    """Raise where vLLM is not installed (None), or its version is outside what the pinned TRL works with."""
    if installed is None:
        raise EnvironmentLacks(
            "grpo.generation needs vLLM, which is not installed: pip install 'xcoder-train[vllm]', or set "
            "grpo.generation: transformers"
        )
    # The base version: "0.24.0+cu129" is 0.24.0, which PEP 440 would put after it.
    if not LOWEST <= Version(Version(installed).base_version) <= HIGHEST:
        raise EnvironmentLacks(
            f"vLLM {installed} is installed; the pinned TRL works with {LOWEST} to {HIGHEST}: "
            f"pip install 'vllm>={LOWEST},<={HIGHEST}'"
        )


def server_url(training: Mapping[str, Any]) -> str:
    """Where TRL will look for the server."""
    host, port = training.get("vllm_server_host", "0.0.0.0"), training.get("vllm_server_port", 8000)
    return str(training.get("vllm_server_base_url") or f"http://{host}:{port}").rstrip("/")


def wait_for_server(url: str, seconds: float, model: str) -> None:
    """Return once the server says that it is well. Raises `EnvironmentLacks` after `seconds`, with how to start it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (OSError, ValueError) as error:
            if time.monotonic() >= deadline:
                raise EnvironmentLacks(
                    f"no vLLM server answered at {url}/health within {seconds:g} seconds ({error}). Start one on GPUs "
                    f"that the training does not use: CUDA_VISIBLE_DEVICES=0 trl vllm-serve --model {model}"
                ) from error
        time.sleep(min(1.0, seconds))


def _installed() -> str | None:
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return None
