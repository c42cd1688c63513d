"""Batched sampling from any causal language model of transformers, where each completion has its own random stream.

`model.generate` draws a batch from one generator, keeps finished rows in the batch, and copies the whole cache at every
token. Here a completion's randomness depends on its own seed alone, prompts that are asked several times are read
once, finished rows leave the batch, and keys and values are written in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from xcoder_train.core.generation.config import SamplingSettings

# Rows are dropped from the batch once this share of it has finished: each drop copies the cache.
COMPACT_BELOW = 0.85


@dataclass(frozen=True)
class Sampled:
    """One sampled completion: `token_ids` with the stop token when there is one, and whether it was cut off."""

    token_ids: list[int]
    truncated: bool


class InPlaceLayer(DynamicLayer):
    """One layer's keys and values, written into room reserved ahead instead of concatenated at every token.

    `keys` and `values` are views of shape (batch, heads, length, head width) on that room.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self._length = 0
        self._keys_room: torch.Tensor
        self._values_room: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (batch, heads, new tokens, head width) and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._keys_room, self._values_room = self._reserve(key_states), self._reserve(value_states)
        start, end = self._length, self._length + key_states.shape[-2]
        self._keys_room[:, :, start:end] = key_states
        self._values_room[:, :, start:end] = value_states
        self._show(end)
        return self._keys_room[:, :, :end], self._values_room[:, :, :end]

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows of the batch, in this order; a row may be taken several times."""
        for name in ("_keys_room", "_values_room"):
            old = getattr(self, name)
            new = self._reserve(old, batch=len(rows))
            new[:, :, : self._length] = old[rows, :, : self._length]
            setattr(self, name, new)
        self._show(self._length)

    def _reserve(self, like: torch.Tensor, batch: int | None = None) -> torch.Tensor:
        rows, heads, _, width = like.shape
        return torch.empty(batch or rows, heads, self.room, width, dtype=like.dtype, device=like.device)

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
    pad_token: int,
    ends: Callable[[int, list[int]], bool] | None = None,
) -> list[Sampled]:
    """Sample one completion per prompt (token ids); equal prompts share one reading. Order is kept.

    A completion ends with a stop token, or where `ends` says so of its place among the prompts and its tokens so far.

    Sampling inverts the cumulative distribution at a uniform number of the completion's own stream, so a completion
    does not depend on what it is batched with, rounding in the forward pass aside.
    """
    device = model.device
    room = max(map(len, prompts)) + sampling.max_new_tokens
    distinct = {tuple(prompt): None for prompt in prompts}
    place = {prompt: row for row, prompt in enumerate(distinct)}
    layers = [InPlaceLayer(room) for _ in range(model.config.get_text_config().num_hidden_layers)]
    cache = DynamicCache(config=model.config)
    cache.layers = list(layers)
    ids, mask = _left_padded(list(distinct), pad_token, device)
    logits = _forward(model, ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)

    spread = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    _select(layers, spread)
    mask, logits = mask[spread], logits[spread]
    positions = mask.sum(1, keepdim=True)
    rows = numpy.arange(len(prompts))
    streams = [numpy.random.Generator(numpy.random.Philox(seed)) for seed in seeds]
    uniforms = numpy.stack([stream.random(sampling.max_new_tokens) for stream in streams])
    tokens: list[list[int]] = [[] for _ in prompts]
    truncated = [True] * len(prompts)
    seen = _SeenTokens(ids[spread], mask, model.vocab_size) if sampling.repetition_penalty != 1 else None

    running = torch.ones(len(rows), dtype=torch.bool, device=device)
    for step in range(sampling.max_new_tokens):
        if seen is not None:
            logits = seen.penalise(logits, sampling.repetition_penalty)
        noise = torch.from_numpy(uniforms[rows, step]).to(device)
        chosen = pick_tokens(logits, noise, sampling)
        still = running.tolist()
        for row, token, alive in zip(rows.tolist(), chosen.tolist(), still, strict=True):
            if alive:
                tokens[row].append(token)
                truncated[row] = token not in stop_tokens and not (ends is not None and ends(row, tokens[row]))
        running = torch.tensor([truncated[row] for row in rows.tolist()], device=device)
        alive_rows = int(running.sum())
        if alive_rows == 0 or step + 1 == sampling.max_new_tokens:
            break
        if seen is not None:
            seen.add(chosen)
        if alive_rows < COMPACT_BELOW * len(rows):
            kept = running.nonzero()[:, 0]
            _select(layers, kept)
            rows, mask, positions, chosen = rows[kept.cpu().numpy()], mask[kept], positions[kept], chosen[kept]
            running = running[kept]
            if seen is not None:
                seen.select(kept)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        logits = _forward(model, chosen[:, None], mask, positions, cache)
        positions = positions + 1
    return [Sampled(token_ids, cut) for token_ids, cut in zip(tokens, truncated, strict=True)]


def pick_tokens(logits: torch.Tensor, uniforms: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """Choose one token per row: logits (rows, vocabulary) and one uniform number in [0, 1) per row."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    logits = logits.double() / sampling.temperature
    if sampling.top_k and sampling.top_k < logits.shape[-1]:
        threshold = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p < 1:
        descending, order = probabilities.sort(-1, descending=True)
        before = descending.cumsum(-1) - descending
        probabilities = torch.zeros_like(probabilities).scatter(
            -1, order, descending.masked_fill(before >= sampling.top_p, 0)
        )
    cumulative = probabilities.cumsum(-1)
    chosen = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return chosen.clamp(max=logits.shape[-1] - 1)


class _SeenTokens:
    """Which tokens each row has read or written, for the repetition penalty (Keskar et al. 2019, CTRL)."""

    def __init__(self, ids: torch.Tensor, mask: torch.Tensor, vocabulary: int) -> None:
        self.table = torch.zeros(len(ids), vocabulary, dtype=torch.bool, device=ids.device)
        for row, (tokens, real) in enumerate(zip(ids, mask, strict=True)):
            self.table[row, tokens[real.bool()]] = True

    def penalise(self, logits: torch.Tensor, penalty: float) -> torch.Tensor:
        weakened = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(self.table, weakened, logits)

    def add(self, chosen: torch.Tensor) -> None:
        self.table[torch.arange(len(chosen), device=chosen.device), chosen] = True

    def select(self, kept: torch.Tensor) -> None:
        self.table = self.table[kept]


def _forward(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Logits of the last position, (rows, vocabulary), in float32."""
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1].float()


def _select(layers: Sequence[InPlaceLayer], rows: torch.Tensor) -> None:
    for layer in layers:
        layer.select(rows)


def _left_padded(
    prompts: Sequence[Sequence[int]], pad_token: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, each (prompts, longest)."""
    longest = max(map(len, prompts))
    ids = [[pad_token] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
