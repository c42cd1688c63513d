"""What choosing tokens takes where a vocabulary is large: among the likeliest ones, against sorting all of it.

    python -m benchmarks.sampling --output benchmarks/results/sampling.json

Both choose the same tokens, which is checked. CPU seconds of the fastest of several rounds, so that other work on the
machine shows little.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from xcoder_core.models.settings import SamplingSettings
from xcoder_core.models.transformers_backend import pick_tokens

# SmolLM2's vocabulary, and that of Qwen2.5 and Qwen3.
VOCABULARIES = (49_152, 151_936)
SAMPLINGS = {
    "top_p 0.95, top_k 20": SamplingSettings(temperature=0.6, top_p=0.95, top_k=20),
    "top_p 0.95": SamplingSettings(temperature=0.6, top_p=0.95, top_k=0),
    "neither": SamplingSettings(temperature=0.6, top_p=1.0, top_k=0),
}

Pick = Callable[[torch.Tensor, torch.Tensor, SamplingSettings], torch.Tensor]


def pick_from_all(logits: torch.Tensor, uniforms: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """What `pick_tokens` chooses, by sorting the whole vocabulary in float64."""
    logits = logits.double() / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[:, -1:], -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p < 1:
        descending, order = probabilities.sort(dim=-1, descending=True, stable=True)
        kept = descending.masked_fill(descending.cumsum(-1) - descending >= sampling.top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, kept)
    cumulative = probabilities.cumsum(-1)
    return torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]


def measure(vocabulary: int, sampling: SamplingSettings, rows: int, rounds: int) -> dict[str, float]:
    """CPU milliseconds that one token for each of `rows` takes both ways. Raises where the tokens differ."""
    random = torch.Generator().manual_seed(vocabulary)
    # As a language model's: a few tokens far above many, rounded to 16 bits.
    logits = torch.randn(rows, vocabulary, generator=random).mul(2.5).bfloat16().float()
    logits[:, :40] += 8
    uniforms = torch.rand(rows, generator=random, dtype=torch.float64)
    if not pick_tokens(logits, uniforms, sampling).equal(pick_from_all(logits, uniforms, sampling)):
        raise RuntimeError(f"other tokens are chosen from {vocabulary:,} with {sampling}")
    whole, likeliest = (_fastest(pick, logits, uniforms, sampling, rounds) for pick in (pick_from_all, pick_tokens))
    return {
        "whole_vocabulary_ms": round(1000 * whole, 1),
        "pick_tokens_ms": round(1000 * likeliest, 1),
        "ratio": round(whole / likeliest, 1),
    }


def _fastest(
    pick: Pick, logits: torch.Tensor, uniforms: torch.Tensor, sampling: SamplingSettings, rounds: int
) -> float:
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        pick(logits, uniforms, sampling)
        taken.append(time.process_time() - before)
    return min(taken)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=list(VOCABULARIES))
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args(arguments)
    result = {
        "rows": asked.rows,
        "threads": torch.get_num_threads(),
        "vocabularies": {
            str(size): {name: measure(size, how, asked.rows, asked.rounds) for name, how in SAMPLINGS.items()}
            for size in asked.vocabularies
        },
    }
    if asked.output is not None:
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
