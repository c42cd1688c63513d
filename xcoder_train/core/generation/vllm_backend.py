"""Completions from vLLM in this process group: offline batches on GPUs (the extra `vllm`)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xcoder_train.core.errors import EnvironmentLacks
from xcoder_train.core.generation.chat import prompt_token_ids, stop_token_ids
from xcoder_train.core.generation.config import GenerationSettings, SamplingSettings
from xcoder_train.core.generation.request import Completion, Request

# Requests handed over at a time: enough to keep the engine full, few enough that a kill loses little.
REQUESTS_PER_CALL = 2048


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
    ) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            raise EnvironmentLacks(
                "generation.backend is vllm, but the package is not installed: pip install 'xcoder-train[vllm]', "
                "or set backend: transformers"
            ) from error
        self.tokenizer = tokenizer
        self.stop_tokens = sorted(stop_token_ids(tokenizer))
        self.engine = LLM(
            model=str(model),
            trust_remote_code=trust_remote_code,
            tensor_parallel_size=settings.tensor_parallel,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            max_model_len=settings.max_model_len,
            generation_config="vllm",  # not the model's own file, which may hide a repetition penalty
            seed=seed % 2**31,
        )

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        """Yield one completion per request."""
        pending = iter(requests)
        while window := list(islice(pending, REQUESTS_PER_CALL)):
            prompts: list[Any] = [
                {"prompt_token_ids": prompt_token_ids(self.tokenizer, request.messages)} for request in window
            ]
            parameters = [self._parameters(request, sampling) for request in window]
            for request, output in zip(window, self.engine.generate(prompts, parameters), strict=True):
                answer = output.outputs[0]
                yield Completion(
                    request.id,
                    answer.text,
                    tuple(answer.token_ids),
                    "length" if answer.finish_reason == "length" else "stop",
                    prompt_tokens=len(output.prompt_token_ids),
                    completion_tokens=len(answer.token_ids),
                )

    def _parameters(self, request: Request, sampling: SamplingSettings) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=self.stop_tokens,
            seed=request.seed % 2**31,
        )
