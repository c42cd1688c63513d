"""Sampling: what a completion may depend on, and which tokens can be drawn how often."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from benchmarks.sampling import pick_from_all
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.models.transformers_backend import InPlaceLayer, Sampled, pick_tokens, sample_batch

MakeModel = Callable[..., PreTrainedModel]

PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3], [11], [5, 6, 7], [20, 21, 22, 23, 24]]
STOP = frozenset({1, 2, 3, 4})
FREE = SamplingSettings(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=20)
GREEDY = SamplingSettings(temperature=0.0, max_new_tokens=20)


def sample(
    model: PreTrainedModel,
    prompts: list[list[int]],
    seeds: list[int],
    sampling: SamplingSettings = FREE,
    stop: frozenset[int] = STOP,
) -> list[Sampled]:
    ended = dict(sample_batch(model, prompts, seeds, sampling, stop, measures=True))
    return [ended[place] for place in range(len(prompts))]


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_a_completion_depends_on_its_prompt_and_seed_alone(architecture: str, tiny_model: MakeModel) -> None:
    model = tiny_model(architecture)
    seeds = [100 + number for number in range(len(PROMPTS))]
    together = sample(model, PROMPTS, seeds)
    backwards = sample(model, PROMPTS[::-1], seeds[::-1])[::-1]
    alone = [sample(model, [prompt], [seed])[0] for prompt, seed in zip(PROMPTS, seeds, strict=True)]
    assert together == backwards == alone
    assert len({len(one.token_ids) for one in together}) > 1  # rows did leave the batch at different times


def test_completions_of_one_prompt_differ_by_their_seed(tiny_model: MakeModel) -> None:
    sampled = sample(tiny_model("qwen2"), [[5, 6, 7]] * 16, list(range(16)), stop=frozenset())
    assert len({tuple(one.token_ids) for one in sampled}) == 16


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_greedy_is_what_generate_gives_token_for_token(architecture: str, tiny_model: MakeModel) -> None:
    model = tiny_model(architecture)
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    expected = model.generate(
        ids, attention_mask=(ids != 0).long(), do_sample=False, max_new_tokens=20, eos_token_id=sorted(STOP)
    )[:, longest:].tolist()
    sampled = sample(model, PROMPTS, [0] * len(PROMPTS), GREEDY)
    for one, row in zip(sampled, expected, strict=True):
        assert one.token_ids == row[: len(one.token_ids)]
        assert not any(row[len(one.token_ids) :])  # `generate` has only padding where we ended
    assert len({tuple(one.token_ids) for one in sampled}) > 2


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_repetition_penalty_is_that_of_transformers(architecture: str, tiny_model: MakeModel) -> None:
    model, prompt = tiny_model(architecture), [9, 8, 7, 6]
    penalised = GREEDY.model_copy(update={"repetition_penalty": 1.3})
    expected = model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=20, repetition_penalty=1.3, eos_token_id=-1
    )[0, len(prompt) :].tolist()
    neighbours = sample(model, [[30] * 9, prompt, [31]], [0, 0, 0], penalised, frozenset())
    assert neighbours[1].token_ids == expected
    assert neighbours[1] != sample(model, [prompt], [0], GREEDY, frozenset())[0]


def test_repetition_penalty_weakens_every_token_that_was_read_or_written(tiny_model: MakeModel) -> None:
    model, prompt = tiny_model("qwen2"), [9, 8, 7, 6]
    sampling = SamplingSettings(temperature=1.0, top_p=1.0, top_k=1, repetition_penalty=2.0, max_new_tokens=6)
    ids = list(prompt)
    processor = RepetitionPenaltyLogitsProcessor(2.0)
    for token in sample(model, [prompt], [4], sampling, frozenset())[0].token_ids:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[:, -1].float()
        assert token == int(processor(torch.tensor([ids]), logits).argmax())
        ids.append(token)


def test_a_stop_token_ends_a_completion_and_belongs_to_it(tiny_model: MakeModel) -> None:
    sampled = sample(tiny_model("qwen2"), [[5, 6, 7]] * 24, list(range(24)))
    assert {one.truncated for one in sampled} == {True, False}
    for one in sampled:
        assert not STOP & set(one.token_ids[:-1])
        assert one.truncated == (one.token_ids[-1] not in STOP)
        assert not one.truncated or len(one.token_ids) == FREE.max_new_tokens


def test_a_stop_token_in_the_last_place_is_not_a_truncation(tiny_model: MakeModel) -> None:
    model = tiny_model("qwen2")
    whole = sample(model, [[5, 6, 7]], [3], FREE, frozenset())[0]
    last = whole.token_ids[5]
    place = whole.token_ids.index(last)
    exact = FREE.model_copy(update={"max_new_tokens": place + 1})
    assert sample(model, [[5, 6, 7]], [3], exact, frozenset({last})) == [Sampled(whole.token_ids[: place + 1], False)]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingSettings(temperature=1.0, top_p=1.0, top_k=0),
        SamplingSettings(temperature=0.5, top_p=1.0, top_k=0),
        SamplingSettings(temperature=1.0, top_p=1.0, top_k=4),
        SamplingSettings(temperature=1.5, top_p=0.8, top_k=0),
        SamplingSettings(temperature=0.7, top_p=0.9, top_k=7),
    ],
)
def test_tokens_are_drawn_as_often_as_their_probability_says(sampling: SamplingSettings) -> None:
    draws = 40_000
    logits = torch.randn(12, generator=torch.Generator().manual_seed(1)) * 1.5
    kept = (logits / sampling.temperature)[None]
    if sampling.top_k:
        kept = TopKLogitsWarper(sampling.top_k)(None, kept)
    if sampling.top_p < 1:
        kept = TopPLogitsWarper(sampling.top_p)(None, kept)
    expected = kept.softmax(-1)[0]
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    counts = Counter(pick_tokens(logits.expand(draws, -1), uniforms, sampling).tolist())
    for token, probability in enumerate(expected.tolist()):
        if probability == 0:
            assert counts[token] == 0
        else:
            assert counts[token] / draws == pytest.approx(probability, abs=4 * (probability / draws) ** 0.5)


def test_an_excluded_token_is_not_drawn_at_the_ends_of_the_uniform_range() -> None:
    logits = torch.tensor([[-5.0, 3.0, 2.9, -6.0]]).expand(2, -1)
    ends = torch.tensor([0.0, 1.0 - 2.0**-53], dtype=torch.float64)
    for sampling in (
        SamplingSettings(temperature=1.0, top_p=1.0, top_k=2),
        SamplingSettings(temperature=1.0, top_p=0.9),
    ):
        assert pick_tokens(logits, ends, sampling).tolist() == [1, 2]


@pytest.mark.parametrize("rounding", [torch.float32, torch.bfloat16])  # models in bfloat16 make many logits tie
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("vocabulary", [12, 960, 6_000])
def test_picking_among_the_likeliest_is_picking_from_the_sorted_vocabulary(
    vocabulary: int, spread: float, rounding: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(vocabulary)
    widths = set()
    for temperature, top_p, top_k in [(0.6, 0.95, 20), (1.0, 0.95, 0), (0.8, 1.0, 0), (1.3, 0.5, 0), (0.7, 1.0, 7)]:
        sampling = SamplingSettings(temperature=temperature, top_p=top_p, top_k=top_k)
        logits = (torch.randn(48, vocabulary, generator=random) * spread).to(rounding).float()
        logits[7] = 0  # every token ties with every other
        logits[8, 3] = 100  # one token is all
        uniforms = torch.rand(48, generator=random, dtype=torch.float64)
        picked, expected = pick_tokens(logits, uniforms, sampling), pick_from_all(logits, uniforms, sampling)
        assert picked.tolist() == expected.tolist()
        widths.add(len(set(picked.tolist())))
    assert max(widths) > 1


def test_completions_are_given_as_they_end(tiny_model: MakeModel) -> None:
    lengths = [len(one.token_ids) for _, one in sample_batch(tiny_model("qwen2"), PROMPTS, [*range(5)], FREE, STOP)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    first = next(iter(sample_batch(tiny_model("qwen2"), PROMPTS, [*range(5)], FREE, STOP)))
    assert len(first[1].token_ids) == lengths[0]


def test_a_completion_that_fills_the_context_is_cut_off_there_and_no_other_changes(tiny_model: MakeModel) -> None:
    model = tiny_model("qwen2")
    context = model.config.max_position_embeddings
    long = [5 + place % 20 for place in range(context - 6)]
    cut, whole = sample(model, [long, [5, 6, 7]], [1, 2], FREE, frozenset())
    assert cut.truncated
    assert len(cut.token_ids) == 6
    assert whole == sample(model, [[5, 6, 7]], [2], FREE, frozenset())[0]
    six = FREE.model_copy(update={"max_new_tokens": 6})
    assert cut == sample(model, [long], [1], six, frozenset())[0]


def test_keys_and_values_beyond_the_room_are_kept_with_those_before() -> None:
    random = torch.Generator().manual_seed(0)
    layer, pieces = InPlaceLayer(room=4), [torch.randn(2, 1, length, 3, generator=random) for length in (3, 1, 1, 2)]
    for piece in pieces:
        keys, values = layer.update(piece, -piece)
    assert keys.equal(torch.cat(pieces, 2))
    assert values.equal(-keys)
    layer.select(torch.tensor([1, 1]))
    assert layer.keys.equal(keys[[1, 1]])


def test_sampling_warns_of_nothing_that_transformers_deprecates(
    tiny_model: MakeModel, recwarn: pytest.WarningsRecorder
) -> None:
    sample(tiny_model("qwen2"), PROMPTS, [*range(5)])
    assert not [warning for warning in recwarn if "deprecated" in str(warning.message)]


@pytest.mark.parametrize("cut", [{}, {"top_k": 3}, {"top_p": 0.5, "repetition_penalty": 1.3}], ids=str)
def test_log_probabilities_are_those_of_all_tokens_at_the_temperature(
    cut: dict[str, float], tiny_model: MakeModel
) -> None:
    model = tiny_model("qwen2")
    sampling = FREE.model_copy(update={"temperature": 0.7, **cut})
    for prompt, one in zip(PROMPTS, sample(model, PROMPTS, [*range(5)], sampling), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *one.token_ids]])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / 0.7).log_softmax(-1).gather(-1, torch.tensor(one.token_ids)[:, None])[:, 0]
        assert one.log_probabilities == pytest.approx(expected.tolist(), abs=1e-4)
