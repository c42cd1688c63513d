"""Completions from vLLM in this process group: offline batches on GPUs (the extra `vllm`)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from xcoder_train.core.errors import EnvironmentLacks, install_command
from xcoder_train.core.generation.chat import prompt_token_ids, stop_token_ids
from xcoder_train.core.generation.config import GenerationSettings, SamplingSettings
from xcoder_train.core.generation.request import Completion, Request, Unanswered

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
                f"generation.backend is vllm, but the package is not installed: {install_command('vllm')}, "
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
        self.context: int = self.engine.llm_engine.model_config.max_model_len

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion | Unanswered]:
        """Yield one completion per request; a prompt that fills the whole context stays unanswered."""
        pending = iter(requests)
        while window := list(islice(pending, REQUESTS_PER_CALL)):
            asked: list[Request] = []
            prompts: list[Any] = []
            for request in window:
                token_ids = prompt_token_ids(self.tokenizer, request.messages)
                if len(token_ids) < self.context:
                    asked.append(request)
                    prompts.append({"prompt_token_ids": token_ids})
                else:  # the engine would end the whole batch
                    reason = f"a prompt of {len(token_ids)} tokens leaves no room in a context of {self.context}"
                    yield Unanswered(request.id, reason)
            parameters = [self._parameters(request, sampling) for request in asked]
            for request, output in zip(asked, self.engine.generate(prompts, parameters), strict=True):
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
            stop=list(request.stop),
            seed=request.seed % 2**31,
        )
