"""Completions from a model in this process through transformers: the backend that runs anywhere."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xcoder_core.models.chat import completion_text, opened_reasoning, prompt_token_ids, stop_token_ids
from xcoder_core.models.decoding import sample_batch
from xcoder_core.models.generation import SamplingSettings
from xcoder_core.models.request import Completion, Request, Unanswered

# Batches are formed from this many of them at a time, sorted by length so that little is padded.
BATCHES_AHEAD = 8


class TransformersGenerator:
    """Samples completions with a loaded model, `batch_size` sequences at a time."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.stop_tokens = stop_token_ids(tokenizer, model)

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion | Unanswered]:
        """Yield each completion as soon as it ends; a prompt that fills the whole context stays unanswered."""
        context = self.model.config.get_text_config().max_position_embeddings
        pending = iter(requests)
        while window := list(islice(pending, self.batch_size * BATCHES_AHEAD)):
            encoded: list[tuple[list[int], Request]] = []
            for request in window:
                prompt = prompt_token_ids(self.tokenizer, request.messages)
                if len(prompt) < context:
                    encoded.append((prompt, request))
                else:
                    reason = f"a prompt of {len(prompt)} tokens leaves no room in a context of {context}"
                    yield Unanswered(request.id, reason)
            encoded.sort(key=lambda pair: (len(pair[0]), pair[1].id))
            for start in range(0, len(encoded), self.batch_size):
                yield from self._generate_batch(encoded[start : start + self.batch_size], sampling)

    def _generate_batch(
        self, batch: list[tuple[list[int], Request]], sampling: SamplingSettings
    ) -> Iterator[Completion]:
        was_training = self.model.training
        self.model.eval()
        try:
            for row, one in sample_batch(
                self.model,
                [prompt for prompt, _ in batch],
                [request.seed for _, request in batch],
                sampling,
                self.stop_tokens,
                self.tokenizer.pad_token_id,
                self._ends(batch) if any(request.stop for _, request in batch) else None,
            ):
                prompt, request = batch[row]
                text = completion_text(self.tokenizer, opened_reasoning(self.tokenizer, prompt), one.token_ids)
                yield Completion(
                    request.id,
                    _before_first(text, request.stop),
                    tuple(one.token_ids),
                    "length" if one.truncated else "stop",
                    prompt_tokens=len(prompt),
                    completion_tokens=len(one.token_ids),
                )
        finally:
            self.model.train(was_training)

    def _ends(self, batch: list[tuple[list[int], Request]]) -> Callable[[int, list[int]], bool]:
        """Whether the newest token of a row of the batch has completed one of its stop texts."""
        stops = [request.stop for _, request in batch]

        def ends(row: int, token_ids: list[int]) -> bool:
            # A text may be spread over tokens, at most one for each of its bytes, and end within one.
            reach = 1 + max((len(stop.encode()) for stop in stops[row]), default=0)
            tail = self.tokenizer.decode(token_ids[-reach:], skip_special_tokens=True)
            return any(stop in tail for stop in stops[row])

        return ends


def _before_first(text: str, stops: tuple[str, ...]) -> str:
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)]
