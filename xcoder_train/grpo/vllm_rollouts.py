"""Whether rollouts by vLLM can work on this machine, checked before a model is loaded."""

import json
import time
import urllib.request
from contextlib import suppress

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from xcoder_core.errors import EnvironmentLacks, install_command, installed_version
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.training.private_names import VLLM_NAMES, require_private_names

SUPPORTED = SpecifierSet(">=0.27,<0.31")
"""As the extra `vllm` in pyproject.toml, which says why; a test holds the two together."""


def check_vllm(settings: GrpoSettings, *, has_gpu: bool, model: str) -> dict[str, object]:
    """The version of vLLM, and of a server its dtype.

    Raises `EnvironmentLacks` where the package, the GPU or the server for `generation: vllm_…` is missing.
    """
    installed = installed_version("vllm")
    check_version(installed)
    # A server gets the trained weights from GPU to GPU.
    if not has_gpu and not (settings.generation == "vllm_colocate" and _follows_on_a_cpu(str(installed))):
        raise EnvironmentLacks(
            f"grpo.generation is {settings.generation}, which needs a GPU, and there is none. Set grpo.generation: "
            "transformers"
        )
    if settings.generation == "vllm_server":
        url = (settings.training.vllm_server_base_url or "http://0.0.0.0:8000").rstrip("/")  # where TRL will look
        wait_for_server(url, settings.training.vllm_server_timeout, model)
        return check_server(url, settings, model)
    require_private_names(VLLM_NAMES)
    return {"vllm": str(installed)}


def check_version(installed: str | None) -> None:
    """Raise where vLLM is not installed (None), or its version is not among those that were tried."""
    if installed is None:
        raise EnvironmentLacks(
            f"grpo.generation needs vLLM, which is not installed: {install_command('vllm')}, or set "
            "grpo.generation: transformers"
        )
    if not SUPPORTED.contains(Version(installed).base_version):  # "0.30.0+cu129" is 0.30.0
        raise EnvironmentLacks(
            f"vLLM {installed} is installed; SFT and GRPO work beside {SUPPORTED}: pip install 'vllm{SUPPORTED}'"
        )


def _follows_on_a_cpu(installed: str) -> bool:
    """Whether this is vLLM's build for CPUs and its layers keep the weights that training replaces.

    With oneDNN they keep a packed copy alone, which nothing can be loaded into.
    """
    if Version(installed).local != "cpu":
        return False
    from vllm import _custom_ops

    return not _custom_ops._supports_onednn


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
                    f"no vLLM server answered at {url}/health within {seconds:g} seconds ({error}). {_start(model)}"
                ) from error
        time.sleep(min(1.0, seconds))


def check_server(url: str, settings: GrpoSettings, model: str) -> dict[str, object]:
    """The server's version and dtype, as far as it tells.

    Raises `EnvironmentLacks` where the server could not take the policy's weights, or not make its rollouts.

    TRL asks for less of it, and after the model is loaded (`trl.generation.vllm_client.VLLMClient`).
    """
    try:
        with urllib.request.urlopen(f"{url}/server_info?config_format=json", timeout=60) as answer:
            served = json.load(answer)["vllm_config"]
            length, kind = served["model_config"]["max_model_len"], served["model_config"]["logprobs_mode"]
            takes_weights = served["weight_transfer_config"] is not None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentLacks(
            f"the vLLM server at {url} does not say how it is set up ({error!r} at /server_info), so it was started "
            f"without VLLM_SERVER_DEV_MODE=1 and cannot take weights. {_start(model)}"
        ) from error
    needed = settings.max_prompt_length + settings.max_completion_length
    corrects = settings.training.trl.get("vllm_importance_sampling_correction", True)
    for holds, lack in (
        (takes_weights, "was started without --weight-transfer-config, so it cannot take weights"),
        (length >= needed, f"has a context of {length}; max_prompt_length + max_completion_length are {needed}"),
        (
            kind == "processed_logprobs" or not corrects,
            f"was started with --logprobs-mode {kind}, so the importance correction would be wrong",
        ),
    ):
        if not holds:
            raise EnvironmentLacks(f"the vLLM server at {url} {lack}. {_start(model)}")
    with suppress(OSError, ValueError, KeyError), urllib.request.urlopen(f"{url}/version", timeout=60) as answer:
        return {"vllm": json.load(answer)["version"], "dtype": served["model_config"].get("dtype")}
    return {"vllm": None, "dtype": served["model_config"].get("dtype")}


def _start(model: str) -> str:
    return (
        "Start one on GPUs that the training does not use: CUDA_VISIBLE_DEVICES=0 trl vllm-serve --model "
        f"{model} --max_model_len TOKENS"
    )
