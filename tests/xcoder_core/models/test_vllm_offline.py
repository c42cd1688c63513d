"""vLLM's engine in this process against transformers on the same float32 weights: token by token, seeds, limits."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.xcoder_core.models.conftest import CONTEXT_FOR_VLLM
from tests.xcoder_core.models.test_vllm_server import requests
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.models.vllm_backend import VllmGenerator

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
GREEDY = SamplingSettings(temperature=0, top_p=1, top_k=0, max_new_tokens=48)
DRAWN = SamplingSettings(temperature=1, top_p=0.95, top_k=40, max_new_tokens=24)


@pytest.fixture(scope="module")
def engine(local: TransformersGenerator, local_folder: Path) -> Iterator[VllmGenerator]:
    with pytest.MonkeyPatch.context() as patched:
        for name in ("VLLM_CPU_KVCACHE_SPACE", "HF_HUB_OFFLINE", "VLLM_CPU_CI_ENV"):  # the last: it compiles nothing
            patched.setenv(name, "1")
        settings = GenerationSettings(backend="vllm", dtype="float32", max_model_len=CONTEXT_FOR_VLLM)
        yield VllmGenerator(local_folder, local.tokenizer, settings, trust_remote_code=False, seed=0)


def answers(
    generator: VllmGenerator | TransformersGenerator, asked: list[Request], sampling: SamplingSettings
) -> dict[str, Completion]:
    found = {answer.request_id: answer for answer in generator.generate(asked, sampling)}
    assert found.keys() == {request.id for request in asked}
    assert all(isinstance(answer, Completion) for answer in found.values())
    return found  # type: ignore[return-value]


def test_greedy_completions_are_those_of_transformers_token_for_token(
    engine: VllmGenerator, local: TransformersGenerator
) -> None:
    here, there = (answers(generator, requests(24), GREEDY) for generator in (local, engine))
    for name, answer in there.items():
        assert answer.token_ids == here[name].token_ids
        assert (answer.finish_reason, answer.prompt_tokens) == (here[name].finish_reason, here[name].prompt_tokens)
        # vLLM holds back a character whose last bytes are cut off.
        assert answer.text.rstrip("\ufffd") == here[name].text.rstrip("\ufffd")


def test_stop_texts_end_a_completion_where_transformers_ends_it(
    engine: VllmGenerator, local: TransformersGenerator
) -> None:
    plain = answers(local, requests(24), GREEDY)
    # Two characters of each text: every completion meets its own stop text, which cuts it there or earlier.
    asked = [
        Request(request.id, request.messages, request.seed, stop=(plain[request.id].text[8:10],))
        for request in requests(24)
        if len(stop := plain[request.id].text[8:10]) == 2 and "\ufffd" not in stop
    ]
    assert len(asked) > 3
    here, there = (answers(generator, asked, GREEDY) for generator in (local, engine))
    for name, answer in there.items():
        assert (answer.text, answer.finish_reason) == (here[name].text, "stop")
        assert len(answer.text) < len(plain[name].text)


def test_a_limit_of_tokens_is_kept_to_the_token(engine: VllmGenerator) -> None:
    short = GREEDY.model_copy(update={"max_new_tokens": 5})
    for answer in answers(engine, requests(8), short).values():
        assert (answer.finish_reason, len(answer.token_ids)) in {("length", 5)} | {("stop", n) for n in range(1, 6)}


def test_a_seed_decides_a_sample_whatever_else_is_asked_and_in_which_order(engine: VllmGenerator) -> None:
    together = answers(engine, requests(24), DRAWN)
    assert answers(engine, requests(24)[::-1], DRAWN) == together
    for request in requests(6):
        assert answers(engine, [request], DRAWN) == {request.id: together[request.id]}


def test_other_seeds_of_one_prompt_give_other_samples(engine: VllmGenerator) -> None:
    asked = [Request(f"s{number}", requests(1)[0].messages, number) for number in range(16)]
    assert len({answer.token_ids for answer in answers(engine, asked, DRAWN).values()}) > 12


def test_a_prompt_that_fills_the_context_is_unanswered_and_the_others_are_not(engine: VllmGenerator) -> None:
    long = Request("long", [{"role": "user", "content": "é" * CONTEXT_FOR_VLLM}], 0)
    found = {answer.request_id: answer for answer in engine.generate([long, *requests(3)], GREEDY)}
    assert isinstance(found.pop("long"), Unanswered)
    assert len(found) == 3 and all(isinstance(answer, Completion) for answer in found.values())
