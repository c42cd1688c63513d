"""Completions from any causal language model of transformers, in this process: the backend that runs anywhere.

Each completion has its own random stream. `model.generate` draws a batch from one generator, keeps finished rows in
the batch, and copies the whole cache at every token. Here a completion's randomness depends on its own seed alone,
prompts that are asked several times are read once, finished rows leave the batch, and keys and values are written in
place.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from xcoder_core.models.chat import completion_text, opened_reasoning, prompt_token_ids, stop_token_ids
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import SamplingSettings

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


# Rows are dropped from the batch once this share of it has finished: each drop copies the cache.
COMPACT_BELOW = 0.85
# Positions by which the room for keys and values grows.
GROWTH = 1024
# So many of the likeliest tokens are sorted first, and so many times as many where those do not suffice.
_LIKELIEST = 64


@dataclass(frozen=True)
class Sampled:
    """One sampled completion: `token_ids` with the stop token when there is one, and whether it was cut off.

    `log_probabilities`, where they were asked for, are those of its tokens among all tokens at the temperature, before
    `top_k`, `top_p` and the repetition penalty.
    """

    token_ids: list[int]
    truncated: bool
    log_probabilities: list[float] = field(default_factory=list, compare=False)


class InPlaceLayer(DynamicLayer):
    """One layer's keys and values, written into room reserved ahead instead of concatenated at every token.

    `keys` and `values` are views of shape (batch, heads, length, head width) on that room, which grows by `GROWTH`
    positions where it is full: reserved at once, 32,768 tokens for each of 256 rows are more than any device has.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self._length = 0
        self._keys_room: torch.Tensor
        self._values_room: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (batch, heads, new tokens, head width) and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._keys_room, self._values_room = self._reserve(key_states), self._reserve(value_states)
        start, end = self._length, self._length + key_states.shape[-2]
        if end > self.room:
            self.room = end + GROWTH
            self.select(slice(None))
        self._keys_room[:, :, start:end] = key_states
        self._values_room[:, :, start:end] = value_states
        self._show(end)
        return self._keys_room[:, :, :end], self._values_room[:, :, :end]

    def select(self, rows: torch.Tensor | slice) -> None:
        """Keep these rows of the batch, in this order; a row may be taken several times."""
        for name in ("_keys_room", "_values_room"):
            kept = getattr(self, name)[rows, :, : self._length]
            new = self._reserve(kept)
            new[:, :, : self._length] = kept
            setattr(self, name, new)
        self._show(self._length)

    def _reserve(self, like: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = like.shape
        return torch.empty(rows, heads, self.room, width, dtype=like.dtype, device=like.device)

    def _show(self, length: int) -> None:
        self._length = length
        self.keys, self.values = self._keys_room[:, :, :length], self._values_room[:, :, :length]


@torch.inference_mode()
def sample_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: SamplingSettings,
    stop_tokens: frozenset[int],
    ends: Callable[[int, list[int]], bool] | None = None,
    measures: bool = False,
) -> Iterator[tuple[int, Sampled]]:
    """Sample one completion per prompt (token ids); equal prompts share one reading.

    Each is yielded as soon as it ends, with its place among the prompts. It ends with a stop token, where `ends` says
    so of its place and its tokens so far, or cut off after `max_new_tokens` or where the model's context is full.
    With `measures` it comes with log-probabilities.

    Sampling inverts the cumulative distribution at a uniform number of the completion's own stream, so a completion
    does not depend on what it is batched with, rounding in the forward pass aside.
    """
    device = model.device
    context = model.config.get_text_config().max_position_embeddings
    limits = [min(sampling.max_new_tokens, context - len(prompt)) for prompt in prompts]
    room = max(map(len, prompts)) + min(max(limits), GROWTH)
    distinct = {tuple(prompt): None for prompt in prompts}
    place = {prompt: row for row, prompt in enumerate(distinct)}
    layers = [InPlaceLayer(room) for _ in range(model.config.get_text_config().num_hidden_layers)]
    cache = DynamicCache(config=model.config)
    cache.layers = list(layers)
    ids, mask = _left_padded(list(distinct), device)
    logits = _forward(model, ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)

    spread = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    _select(layers, spread)
    mask, logits = mask[spread], logits[spread]
    positions = mask.sum(1, keepdim=True)
    rows = numpy.arange(len(prompts))
    streams = [numpy.random.Generator(numpy.random.Philox(seed)) for seed in seeds]
    uniforms = numpy.stack([stream.random(max(limits)) for stream in streams])
    tokens: list[list[int]] = [[] for _ in prompts]
    likelihoods: list[list[float]] = [[] for _ in prompts]
    running = [True] * len(prompts)
    seen = _seen_tokens(ids[spread], mask, model.vocab_size) if sampling.repetition_penalty != 1 else None

    for step in range(max(limits)):
        penalised = logits if seen is None else _penalised(logits, seen, sampling.repetition_penalty)
        noise = torch.from_numpy(uniforms[rows, step]).to(device)
        chosen = pick_tokens(penalised, noise, sampling)
        likely = _log_probabilities(logits, chosen, sampling.temperature) if measures else []
        for index, (row, token) in enumerate(zip(rows.tolist(), chosen.tolist(), strict=True)):
            if running[row]:
                tokens[row].append(token)
                likelihoods[row].extend(likely[index : index + 1])
                is_stopped = token in stop_tokens or (ends is not None and ends(row, tokens[row]))
                if is_stopped or len(tokens[row]) >= limits[row]:
                    running[row] = False
                    yield row, Sampled(tokens[row], not is_stopped, likelihoods[row])
        kept = torch.tensor([index for index, row in enumerate(rows) if running[row]], device=device)
        if len(kept) == 0:
            return
        if seen is not None:
            seen[torch.arange(len(chosen), device=device), chosen] = True
        if len(kept) < COMPACT_BELOW * len(rows):
            _select(layers, kept)
            rows, mask, positions, chosen = rows[kept.cpu().numpy()], mask[kept], positions[kept], chosen[kept]
            if seen is not None:
                seen = seen[kept]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        logits = _forward(model, chosen[:, None], mask, positions, cache)
        positions = positions + 1


def pick_tokens(logits: torch.Tensor, uniforms: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """Choose one token per row: logits (rows, vocabulary) and one uniform number in [0, 1) per row.

    Only the likeliest tokens are sorted: those that `top_k` keeps, or else as many as make up `top_p`.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    vocabulary, top_k, size = logits.shape[-1], sampling.top_k, _LIKELIEST + sampling.top_k
    if 0 < top_k < vocabulary:
        while True:
            likeliest, tokens = logits.topk(min(size, vocabulary), dim=-1)
            least = likeliest[:, top_k - 1 : top_k]
            if size >= vocabulary or bool((likeliest[:, -1:] < least).all()):
                break  # else tokens that tie with the last of `top_k` may be missing
            size *= _LIKELIEST
        likeliest = (likeliest.double() / sampling.temperature).masked_fill(likeliest < least, -torch.inf)
        return _draw(likeliest.softmax(-1), tokens, uniforms, sampling.top_p)
    probabilities = (logits.double() / sampling.temperature).softmax(-1)
    if sampling.top_p == 1:
        return _invert(probabilities, uniforms)
    chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    rows = torch.arange(len(logits), device=logits.device)
    while len(rows):
        likeliest, tokens = probabilities[rows].topk(min(size, vocabulary), dim=-1)
        # Tokens that tie with the last one may be missing, so those above it alone must make up the nucleus.
        above = likeliest.masked_fill(likeliest == likeliest[:, -1:], 0).sum(-1)
        holds = (above > sampling.top_p) | (size >= vocabulary)
        chosen[rows[holds]] = _draw(likeliest[holds], tokens[holds], uniforms[rows[holds]], sampling.top_p)
        rows, size = rows[~holds], size * _LIKELIEST
    return chosen


def _draw(probabilities: torch.Tensor, tokens: torch.Tensor, uniforms: torch.Tensor, top_p: float) -> torch.Tensor:
    """One of each row's `tokens`, which have these `probabilities`; both (rows, candidates), in any order."""
    tokens, order = tokens.sort(-1)
    probabilities = probabilities.gather(-1, order)
    if top_p < 1:  # of tokens that tie, the first of the vocabulary are in the nucleus
        descending, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = descending.cumsum(-1) - descending
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, descending.masked_fill(before >= top_p, 0))
    return tokens.gather(-1, _invert(probabilities, uniforms)[:, None])[:, 0]


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The place in each row where its cumulative distribution, which need not end at 1, passes the uniform number."""
    cumulative = probabilities.cumsum(-1)
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return chosen.clamp(max=probabilities.shape[-1] - 1)


def _seen_tokens(ids: torch.Tensor, mask: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Which tokens each row has read, (rows, vocabulary)."""
    seen = torch.zeros(len(ids), vocabulary, dtype=torch.bool, device=ids.device)
    for row, (tokens, real) in enumerate(zip(ids, mask, strict=True)):
        seen[row, tokens[real.bool()]] = True
    return seen


def _penalised(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Logits with those of tokens that were read or written weakened (Keskar et al. 2019, CTRL)."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _log_probabilities(logits: torch.Tensor, chosen: torch.Tensor, temperature: float) -> list[float]:
    """Of one chosen token per row, among all tokens."""
    scaled = logits / (temperature or 1.0)
    likely: list[float] = (scaled.gather(-1, chosen[:, None])[:, 0] - scaled.logsumexp(-1)).tolist()
    return likely


def _forward(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Logits of the last position, (rows, vocabulary), in float32."""
    # transformers 5.24 renamed the argument, and 5.40 will know the new name alone.
    name = "cache" if "cache" in inspect.signature(model.get_decoder().forward).parameters else "past_key_values"
    output = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, **{name: cache}, use_cache=True, logits_to_keep=1
    )
    return output.logits[:, -1].float()


def _select(layers: Sequence[InPlaceLayer], rows: torch.Tensor) -> None:
    for layer in layers:
        layer.select(rows)


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, each (prompts, longest); which token stands where the mask is 0 makes no
    difference."""
    longest = max(map(len, prompts))
    ids = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
