"""The generator that runs anywhere: every request is answered once, as soon as its answer has ended."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from transformers import PreTrainedModel

from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import train_tokenizer
from xcoder_core.models.prompt import CONTINUATION
from xcoder_core.models.request import Request, Unanswered
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.models.transformers_backend import TransformersGenerator

MakeModel = Callable[..., PreTrainedModel]
SAMPLING = SamplingSettings(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=12)


@pytest.fixture
def generator(tiny_model: MakeModel) -> TransformersGenerator:
    tokenizer = train_tokenizer(["print(1)"], 300)
    model = tiny_model("qwen2")
    model.resize_token_embeddings(len(tokenizer))
    return TransformersGenerator(model, tokenizer, batch_size=3)


def requests(count: int) -> list[Request]:
    return [
        Request(f"task-{number}", [{"role": "user", "content": "x" * (number % 7)}], seed=number)
        for number in range(count)
    ]


def test_every_request_is_answered_once_across_batches_and_windows(generator: TransformersGenerator) -> None:
    asked = requests(29)  # more than one window of 3 x 8
    answers = list(generator.generate(iter(asked), SAMPLING))
    assert sorted(answer.request_id for answer in answers) == sorted(request.id for request in asked)


def test_an_answer_is_the_same_however_requests_are_ordered_and_batched(generator: TransformersGenerator) -> None:
    asked = requests(10)
    first = {answer.request_id: answer for answer in generator.generate(asked, SAMPLING)}
    generator.batch_size = 5
    second = {answer.request_id: answer for answer in generator.generate(reversed(asked), SAMPLING)}
    assert first == second


def test_text_leaves_out_the_stop_token_that_the_ids_keep(generator: TransformersGenerator) -> None:
    ended = [answer for answer in generator.generate(requests(120), SAMPLING) if answer.finish_reason == "stop"]
    assert ended
    for answer in ended:
        assert answer.token_ids[-1] in generator.stop_tokens
        assert answer.text == generator.tokenizer.decode(answer.token_ids[:-1], skip_special_tokens=True)


def test_tokens_are_counted_as_they_were_read_and_sampled(generator: TransformersGenerator) -> None:
    asked = {request.id: request for request in requests(10)}
    for answer in generator.generate(asked.values(), SAMPLING):
        prompt = prompt_token_ids(generator.tokenizer, asked[answer.request_id].messages)
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(prompt), len(answer.token_ids))


def test_an_answer_ends_where_the_context_does_and_a_prompt_that_fills_it_is_unanswered(
    generator: TransformersGenerator,
) -> None:
    asked = [*requests(4), *(Request(f"long-{n}", [{"role": "user", "content": "é" * n}], seed=n) for n in (30, 40))]
    lengths = [len(prompt_token_ids(generator.tokenizer, request.messages)) for request in asked]
    assert 64 - 12 < lengths[4] < 64 <= lengths[5]
    answers = {answer.request_id: answer for answer in generator.generate(asked, SAMPLING)}
    assert answers.pop("long-40") == Unanswered(
        "long-40", f"a prompt of {lengths[5]} tokens leaves no room in a context of 64"
    )
    cut = answers["long-30"]
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 64 - lengths[4])
    assert answers == {answer.request_id: answer for answer in generator.generate(asked[:5], SAMPLING)}


def test_an_answer_comes_before_its_batch_is_done(generator: TransformersGenerator) -> None:
    generator.batch_size = 40
    asked = generator.generate(requests(40), SAMPLING)
    lengths = [answer.completion_tokens for answer in asked]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    generator.model.train()
    next(asked := generator.generate(requests(40), SAMPLING))
    asked.close()  # as when its reader fails
    assert generator.model.training


def test_a_model_in_training_is_put_back_into_training(generator: TransformersGenerator) -> None:
    generator.model.train()
    list(generator.generate(requests(1), SAMPLING))
    assert generator.model.training


def test_a_stop_text_ends_the_answer_it_is_in_and_no_other(generator: TransformersGenerator) -> None:
    plain = {answer.request_id: answer for answer in generator.generate(requests(12), SAMPLING)}
    stop = next(text[3:5] for number in range(1, 12, 2) if len(text := plain[f"task-{number}"].text) > 6)
    asked = [replace(request, stop=(stop,) if number % 2 else ()) for number, request in enumerate(requests(12))]
    stopped = 0
    for answer in generator.generate(asked, SAMPLING):
        before = plain[answer.request_id]
        if int(answer.request_id.removeprefix("task-")) % 2 and stop in before.text:
            stopped += 1
            assert answer.text == before.text[: before.text.index(stop)] and answer.finish_reason == "stop"
            assert before.token_ids[: len(answer.token_ids)] == answer.token_ids
            assert stop in generator.tokenizer.decode(answer.token_ids)
            assert stop not in generator.tokenizer.decode(answer.token_ids[:-1])
        else:
            assert answer == before
    assert stopped


def test_a_continuation_is_read_as_it_is(generator: TransformersGenerator) -> None:
    text = "print(1)\n### Answer\n\n"
    token_ids = prompt_token_ids(generator.tokenizer, [{"role": CONTINUATION, "content": text}])
    assert generator.tokenizer.decode(token_ids) == text
