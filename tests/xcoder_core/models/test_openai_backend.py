"""The generator that asks a server, against a real one on loopback that is told to misbehave."""

import json
import time
from typing import Any

import pytest
from openai_server import Call, Fault, OpenAIServer

from tests.xcoder_core.models.openai_asking import SAMPLING, Ask, echo, one, requests
from xcoder_core.errors import EnvironmentLacks, InfrastructureError, InputError
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Request, Unanswered, Usage
from xcoder_core.models.settings import ServerSettings

KEY = "sk-a-very-secret-key"


def test_every_request_is_answered_once_with_the_tokens_that_the_server_counted(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        answers = ask(server, 40)
    assert sorted(answer.request_id for answer in answers) == sorted(request.id for request in requests(40))
    assert all(call.answered for call in server.calls) and len(server.calls) == 40
    for answer in answers:
        assert isinstance(answer, Completion)
        assert answer.text == f"the answer to q{answer.request_id[1:]} is here"
        assert (answer.prompt_tokens, answer.completion_tokens, answer.token_ids) == (1, 6, ())
        assert answer.finish_reason == "stop"


def test_every_sampling_parameter_is_sent_and_recorded(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        ask(server, kind="vllm", extra_body={"chat_template_kwargs": {"enable_thinking": True}})
        ask(server, kind="openai")
        settings = ServerSettings(base_url=server.base_url)
        with OpenAIGenerator(settings, "model") as generator:
            recorded = generator.sampling_sent(SAMPLING)
    whole, plain = (call.body for call in server.calls)
    expected = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 50, "n": 1, "seed": 0, "model": "model"}
    assert {name: plain[name] for name in expected} == expected
    assert {"top_k", "repetition_penalty"}.isdisjoint(plain)
    assert {name: whole[name] for name in expected} == expected
    assert (whole["top_k"], whole["repetition_penalty"], whole["min_p"]) == (7, 1.1, 0.0)
    assert whole["chat_template_kwargs"] == {"enable_thinking": True}
    assert recorded["not_sent"] == ["top_k", "repetition_penalty"]
    assert all(recorded[name] == plain[name] for name in ("temperature", "top_p", "max_tokens", "model"))


def test_each_request_has_its_own_seed_whatever_the_order(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        ask(server, 10)
    assert {call.asked: call.body["seed"] for call in server.calls} == {f"q{n}": n for n in range(10)}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(408),
        Fault(409),
        Fault(429),
        Fault(500),
        Fault(503),
        Fault("cut"),
        Fault("cut_in_answer"),
        Fault("no_end"),
        Fault("malformed"),
        Fault("page"),
        Fault("empty"),
        Fault("error_event"),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_what_passes_is_tried_again_and_never_taken_for_an_answer(ask: Ask, fault: Fault) -> None:
    with OpenAIServer(echo, faults=[fault, fault]) as server:
        assert one(ask(server)).text == "the answer to q0 is here"
    assert len(server.calls) == 3 and [call.answered for call in server.calls] == [False, False, True]


def test_a_truncated_answer_is_an_answer_and_says_so(ask: Ask) -> None:
    with OpenAIServer(echo, faults=[Fault("truncated")]) as server:
        answer = one(ask(server))
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("the answer to", "length", 3)
    assert len(server.calls) == 1


def test_a_retry_waits_as_long_as_the_server_asks(ask: Ask) -> None:
    with OpenAIServer(echo, faults=[Fault(429, retry_after=0.6)]) as server:
        one(ask(server))
    first, second = (call.at for call in server.calls)
    assert second - first >= 0.6


def test_waits_between_attempts_grow_and_differ() -> None:
    with OpenAIGenerator(ServerSettings(base_url="http://127.0.0.1:9/v1", longest_wait=30), "model") as generator:
        waits = {failures: [generator._backoff(failures) for _ in range(400)] for failures in (1, 3, 6, 50)}
    bounds = {1: 1, 3: 4, 6: 30, 50: 30}
    for failures, bound in bounds.items():
        drawn = waits[failures]
        assert 0 <= min(drawn) < 0.1 * bound and 0.9 * bound < max(drawn) <= bound
        assert len(set(drawn)) > 390


def test_a_request_that_fails_every_time_is_unanswered_and_the_others_are_not(ask: Ask) -> None:
    def poison(call: Call) -> Fault | None:
        return Fault(500, "the engine chokes") if call.asked == "q3" else None

    with OpenAIServer(echo, fault_of=poison) as server:
        answers = ask(server, 8, attempts=3)
    (failed,) = (answer for answer in answers if isinstance(answer, Unanswered))
    assert failed.request_id == "r3"
    assert "the engine chokes" in failed.reason and "3 of 3" in failed.reason
    assert sum(call.asked == "q3" for call in server.calls) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_refuses_is_not_sent_again(ask: Ask, status: int) -> None:
    with OpenAIServer(echo, faults=[Fault(status, "the roles must alternate")]) as server:
        (answer,) = ask(server)
    assert isinstance(answer, Unanswered) and "the roles must alternate" in answer.reason
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Unexpected fields in the request: {'top_k'}"}, "Unexpected fields in the request: {'top_k'}"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Input should be less than 5"}]}, "Input should be less than 5"),
        ({"error": "the prompt is no text for us"}, "the prompt is no text for us"),
        ({"object": "error", "message": "no such role"}, "no such role"),
        ("plain words", "plain words"),
    ],
    ids=["detail", "details", "error", "message", "text"],
)
def test_a_refusal_keeps_its_reason_in_whatever_form_it_comes(ask: Ask, body: Any, said: str) -> None:
    with OpenAIServer(echo, faults=[Fault(422, body=body)]) as server:
        (answer,) = ask(server)
    assert isinstance(answer, Unanswered) and said in answer.reason and "422" in answer.reason


def test_a_server_that_takes_no_top_k_is_told_from_its_refusal(ask: Ask) -> None:
    refusal = Fault(422, body={"detail": "Unexpected fields in the request: {'repetition_penalty', 'top_k'}"})
    with OpenAIServer(echo, faults=[refusal]) as server:
        (answer,) = ask(server, kind="vllm")
    assert isinstance(answer, Unanswered) and "set `kind: openai`" in answer.reason


def test_tokens_beyond_the_servers_context_are_cut_to_what_it_leaves() -> None:
    def writes_on(messages: Any, parameters: Any) -> str:
        return " on" * 100

    asked = [Request(f"{words}", [{"role": "user", "content": "q " * words}], 0) for words in (10, 20, 39, 40, 60)]
    sampling = SAMPLING.model_copy(update={"max_new_tokens": 25})
    with (
        OpenAIServer(writes_on, context=40) as server,
        OpenAIGenerator(ServerSettings(base_url=server.base_url), "model") as generator,
    ):
        answers = {answer.request_id: answer for answer in generator.generate(asked, sampling)}
    lengths = {name: one.completion_tokens for name, one in answers.items() if isinstance(one, Completion)}
    assert lengths == {"10": 25, "20": 20, "39": 1}
    assert all(one.finish_reason == "length" for one in answers.values() if isinstance(one, Completion))
    for name in ("40", "60"):
        one = answers[name]
        assert isinstance(one, Unanswered) and "maximum context length is 40 tokens" in one.reason
    assert generator.usage.retries == 0


@pytest.mark.parametrize(
    "told",
    [
        "max_tokens=900 cannot be greater than max_model_len=max_total_tokens=512. Please request fewer output tokens.",
        "max_tokens is too large: 900. This model supports at most 512 completion tokens, whereas you provided 900.",
        "Requested token count exceeds the model's maximum context length of 512 tokens.",
    ],
)
def test_the_words_for_too_many_tokens_are_known(ask: Ask, told: str) -> None:
    with OpenAIServer(echo, faults=[Fault(400, told)]) as server:
        assert one(ask(server)).text == "the answer to q0 is here"
    assert ["max_tokens" in call.body for call in server.calls] == [True, False]


def test_half_a_character_in_a_prompt_is_asked_as_a_replacement() -> None:
    torn = Request("torn", [{"role": "user", "content": "half \ud83d and a pair \ud83d\ude00"}], 0)
    with OpenAIServer(echo) as server, OpenAIGenerator(ServerSettings(base_url=server.base_url), "model") as generator:
        (answer,) = generator.generate([torn], SAMPLING)
    assert isinstance(answer, Completion)
    assert [call.asked for call in server.calls] == ["half \ufffd and a pair \U0001f600"]


def test_halves_of_a_character_are_joined_and_a_half_alone_is_replaced(ask: Ask) -> None:
    def streams_halves(messages: Any, parameters: Any) -> list[str]:
        return ["one \ud83d", "\ude00 and half \ud83d", " end\ude00"]

    with OpenAIServer(streams_halves) as server:
        assert one(ask(server)).text == "one \U0001f600 and half \ufffd end\ufffd"


def test_what_a_filter_removed_is_unanswered(ask: Ask) -> None:
    with OpenAIServer(echo, faults=[Fault("filtered")]) as server:
        (answer,) = ask(server)
    assert isinstance(answer, Unanswered) and "content_filter" in answer.reason
    assert len(server.calls) == 1


def test_an_unknown_model_ends_the_run_at_once(ask: Ask) -> None:
    with OpenAIServer(echo, models=("another",)) as server, pytest.raises(InputError, match="no model 'model'"):
        ask(server, 500, max_concurrency=2)
    assert len(server.calls) <= 6


def test_an_account_without_credit_ends_the_run_at_once(ask: Ask) -> None:
    broke = Fault(429, "You exceeded your current quota.", code="insufficient_quota")
    with OpenAIServer(echo, faults=[broke] * 9) as server, pytest.raises(EnvironmentLacks, match="no credit"):
        ask(server, 500, max_concurrency=2)


def test_a_server_that_counts_no_tokens_is_refused(ask: Ask) -> None:
    with OpenAIServer(echo, faults=[Fault("no_usage")]) as server, pytest.raises(InfrastructureError, match="count"):
        ask(server)


def test_answers_that_came_before_a_fault_are_handed_over_first() -> None:
    def key_expires(call: Call) -> Fault | None:
        return Fault(403, "the key has expired") if call.asked == "q20" else None

    answered = []
    with OpenAIServer(echo, fault_of=key_expires) as server:
        settings = ServerSettings(base_url=server.base_url, max_concurrency=4)
        with OpenAIGenerator(settings, "model") as generator, pytest.raises(EnvironmentLacks, match="has expired"):
            for answer in generator.generate(requests(1000), SAMPLING):
                time.sleep(0.002)
                answered.append(answer.request_id)
    by_server = {f"r{call.asked[1:]}" for call in server.calls if call.answered}
    assert set(answered) <= by_server and len(by_server) - len(answered) <= 4  # those in flight
    assert 16 <= len(answered) < 40


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_comes_apart_stands_in_the_text_as_from_any_backend(ask: Ask, name: str) -> None:
    def thinks(messages: Any, parameters: Any) -> str:
        return "<think>let me see</think>it is 4"

    with OpenAIServer(thinks, reasoning_field=name) as server:
        answer = one(ask(server))
        assert answer.text == "<think>\nlet me see\n</think>\n\nit is 4"
        assert answer.answer == "it is 4"
        assert answer.completion_tokens == 6
    with OpenAIServer(thinks, reasoning_field=name, faults=[Fault("truncated")]) as server:
        cut = one(ask(server))
        assert (cut.text, cut.answer, cut.finish_reason) == ("<think>\nlet me see", "", "length")


def test_usage_and_cost_are_counted_for_each_purpose() -> None:
    with OpenAIServer(echo, faults=[Fault(500), Fault(400)]) as server:
        settings = ServerSettings(
            base_url=server.base_url, longest_wait=0.01, max_concurrency=1, prompt_price=2.0, completion_price=10.0
        )
        with OpenAIGenerator(settings, "model") as generator:
            list(generator.generate(requests(2, "tasks"), SAMPLING))
            list(generator.generate(requests(3, "solutions"), SAMPLING))
    tasks, solutions = generator.usage_by_purpose["tasks"], generator.usage_by_purpose["solutions"]
    assert (tasks.requests, tasks.unanswered, tasks.retries) == (1, 1, 1)
    assert solutions == Usage(
        requests=3, prompt_tokens=3, completion_tokens=18, cost=pytest.approx(3 * 2e-6 + 18 * 10e-6)
    )
    assert generator.usage == tasks + solutions


def test_the_key_is_sent_and_appears_nowhere_else(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("A_SERVERS_KEY", KEY + "\n")
    with OpenAIServer(echo, key=KEY, echo_key=True, faults=[Fault(400), Fault(500), Fault(500)]) as server:
        (refused,) = ask(server, api_key_env="A_SERVERS_KEY")
        (failed,) = ask(server, api_key_env="A_SERVERS_KEY", attempts=2)
        assert one(ask(server, api_key_env="A_SERVERS_KEY")).text == "the answer to q0 is here"
    assert all(call.headers["authorization"] == f"Bearer {KEY}" for call in server.calls)
    with OpenAIServer(echo, key="another", echo_key=True) as server, pytest.raises(EnvironmentLacks) as caught:
        ask(server, api_key_env="A_SERVERS_KEY")
    assert "environment variable A_SERVERS_KEY" in str(caught.value) and "Incorrect API key" in str(caught.value)
    assert isinstance(refused, Unanswered) and isinstance(failed, Unanswered)
    settings = ServerSettings(base_url=server.base_url, api_key_env="A_SERVERS_KEY")
    seen = [refused.reason, failed.reason, repr(caught.getrepr(style="long")), settings.model_dump_json(), caplog.text]
    assert "[key]" in refused.reason
    assert not any(KEY in text for text in [*seen, *capfd.readouterr()])


def test_a_key_that_is_not_there_is_named_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_SERVERS_KEY", raising=False)
    with pytest.raises(EnvironmentLacks, match="A_SERVERS_KEY, which is not set"):
        OpenAIGenerator(ServerSettings(base_url="http://127.0.0.1:9/v1", api_key_env="A_SERVERS_KEY"), "model")


def test_a_key_meant_for_another_server_is_not_sent(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "an-organisation")
    with OpenAIServer(echo) as server:
        ask(server)
    assert KEY not in json.dumps(server.calls[0].headers) and "an-organisation" not in json.dumps(
        server.calls[0].headers
    )
