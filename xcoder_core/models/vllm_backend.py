"""Completions from vLLM in this process group (the extra `vllm`): its engine, its output, its errors."""

import itertools
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from xcoder_core.errors import EnvironmentLacks, InputError, XcoderError, install_command
from xcoder_core.models.chat import opened_reasoning, prompt_token_ids, stop_token_ids
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.parent_death import VLLM_ENDS_WITH_US

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams

# Requests that the engine holds at a time: enough to keep it full, few enough that the caller's follow them closely.
REQUESTS_AT_ONCE = 2048


class VllmGenerator:
    """Samples completions with vLLM's offline engine. Every sampling parameter is sent, none is inherited."""

    def __init__(
        self,
        model: Path | str,
        tokenizer: PreTrainedTokenizerBase,
        settings: GenerationSettings,
        *,
        trust_remote_code: bool,
        seed: int,
        adapter: Path | None = None,
    ) -> None:
        """Raises `EnvironmentLacks` where vLLM is missing or its engine fails, `InputError` for what it refuses."""
        prepare_vllm()
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ImportError as error:
            raise EnvironmentLacks(
                f"generation.backend is vllm, but the package is not installed: {install_command('vllm')}, "
                "or set backend: transformers"
            ) from error
        self.tokenizer = tokenizer
        self.stop_tokens = sorted(stop_token_ids(tokenizer))
        self.adapter = None if adapter is None else LoRARequest("trained", 1, str(adapter))
        dtype = settings.on(has_gpu=torch.cuda.is_available()).dtype
        print(f"vLLM loads {model} in {dtype}", file=sys.stderr, flush=True)
        with stdout_kept(), in_vllm_words():
            self.engine = LLM(
                model=str(model),
                dtype=dtype,
                trust_remote_code=trust_remote_code,
                tensor_parallel_size=settings.tensor_parallel,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                max_model_len=settings.max_model_len,
                generation_config="vllm",  # not the model's own file, which may hide a repetition penalty
                seed=seed % 2**31,
                use_tqdm_on_load=False,
                **({} if adapter is None else {"enable_lora": True, "max_lora_rank": _rank_for(adapter)}),
            ).llm_engine
        self.context: int = self.engine.model_config.max_model_len
        self._names = map(str, itertools.count())

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion | Unanswered]:
        """Yield each completion as soon as it ends; a prompt that fills the whole context stays unanswered."""
        pending, running = iter(requests), dict[str, Request]()
        try:
            while True:
                while len(running) < REQUESTS_AT_ONCE and (request := next(pending, None)) is not None:
                    prompt = prompt_token_ids(self.tokenizer, request.messages)
                    if len(prompt) >= self.context:  # the engine would end all of them
                        reason = f"a prompt of {len(prompt)} tokens leaves no room in a context of {self.context}"
                        yield Unanswered(request.id, reason)
                        continue
                    running[name := next(self._names)] = request
                    with in_vllm_words():
                        self.engine.add_request(
                            name,
                            {"prompt_token_ids": prompt},
                            self._parameters(request, sampling),
                            lora_request=self.adapter,
                        )
                if not running:
                    return
                with in_vllm_words():
                    outputs = self.engine.step()
                for output in outputs:
                    if output.finished:
                        yield self._completion(running.pop(output.request_id), output)
        finally:
            with suppress(Exception):  # a dead engine has raised its own error already
                self.engine.abort_request(list(running))

    def _parameters(self, request: Request, sampling: SamplingSettings) -> "SamplingParams":
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=self.stop_tokens,
            stop=list(request.stop),
            seed=request.seed % 2**31,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: Request, output: "RequestOutput") -> Completion | Unanswered:
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            return Unanswered(request.id, f"vLLM ended the answer with finish_reason {answer.finish_reason}")
        return Completion(
            request.id,
            opened_reasoning(self.tokenizer, output.prompt_token_ids) + answer.text,
            tuple(answer.token_ids),
            answer.finish_reason,
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(answer.token_ids),
        )


def _rank_for(adapter: Path) -> int:
    """The smallest of the ranks that vLLM reserves room for."""
    rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    return min(room for room in (1, 8, 16, 32, 64, 128, 256, 320, 512) if room >= rank)


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
            f"vLLM failed: {type(error).__name__}: {error}. Its own messages above may say more; what was finished is "
            "kept, and the same command continues"
        ) from error


def _came_through_vllm(error: Exception) -> bool:
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(re.match(r"vllm\b|trl\.generation\.vllm", str(frame.f_globals.get("__name__"))) for frame in frames)
