"""Waiting for a server: for its turn, for its rate limits, for its next token, and until it is back."""

import threading
import time
from collections.abc import Iterator

import pytest
from openai_server import Fault, OpenAIServer

from tests.xcoder_core.models.openai_asking import SAMPLING, Ask, echo, one, requests
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import ServerSettings


def test_requests_are_read_as_they_are_worked_off_and_never_more_at_once_than_allowed() -> None:
    read = []

    def endless() -> Iterator[Request]:
        for request in requests(10_000):
            read.append(request.id)
            yield request

    with OpenAIServer(echo, seconds_per_token=0.002) as server:
        settings = ServerSettings(base_url=server.base_url, max_concurrency=5)
        with OpenAIGenerator(settings, "model") as generator:
            answers = generator.generate(endless(), SAMPLING)
            for _ in range(30):
                next(answers)
            time.sleep(0.2)  # a caller that is busy
            assert len(read) <= 30 + 2 * 5
            answers.close()  # type: ignore[attr-defined]
            time.sleep(0.1)
            asked = len(server.calls)
            time.sleep(0.1)
            assert len(server.calls) == asked  # nothing goes on once the caller has left
    assert server.most_at_once == 5


def test_requests_are_spaced_as_the_rate_limit_says(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        ask(server, 6, requests_per_minute=600)
    times = sorted(call.at for call in server.calls)
    assert times[-1] - times[0] >= 0.45  # five spaces of a tenth of a second
    assert min(later - earlier for earlier, later in zip(times, times[1:], strict=False)) > 0.05


def test_tokens_are_limited_by_what_an_attempt_may_take(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        started = time.monotonic()  # the first call reaches a busy server later than it is counted
        ask(server, 61, tokens_per_minute=60 * SAMPLING.max_new_tokens)  # a minute's share at once, then one a second
    assert len(server.calls) == 61
    assert max(call.at for call in server.calls) - started > 0.95


def test_a_server_that_hangs_is_told_from_one_that_writes_slowly(ask: Ask) -> None:
    with OpenAIServer(echo, faults=[Fault("slow", seconds=0.1)]) as server:
        assert one(ask(server, token_timeout=0.4)).text == "the answer to q0 is here"
    assert len(server.calls) == 1
    with OpenAIServer(echo, faults=[Fault("hang")]) as server:
        assert one(ask(server, token_timeout=0.3)).text == "the answer to q0 is here"
    assert len(server.calls) == 2
    with OpenAIServer(echo, fault_of=lambda call: Fault("slow", seconds=0.1)) as server:
        (answer,) = ask(server, total_timeout=0.3, attempts=2)
    assert isinstance(answer, Unanswered) and "total_timeout = 0.3" in answer.reason


def test_requests_wait_for_a_server_that_is_away_and_their_attempts_do_not_count(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        port = server.port
    revived = OpenAIServer(echo, port=port)
    timer = threading.Timer(0.6, revived.__enter__)
    timer.start()
    try:
        answers = ask(revived, 5, attempts=2)
    finally:
        timer.join()
        revived.__exit__(None, None, None)
    assert all(isinstance(answer, Completion) for answer in answers) and len(answers) == 5


def test_waiting_for_a_server_is_said_at_once_and_when_it_is_back(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    away = iter(range(40))
    with OpenAIServer(echo, fault_of=lambda call: Fault(503, "restarting") if next(away, None) else None) as server:
        ask(server, 5, attempts=2)
    lines = capfd.readouterr().err.splitlines()
    waiting = [place for place, line in enumerate(lines) if "waiting for the server" in line]
    back = [place for place, line in enumerate(lines) if "is back" in line]
    assert len(waiting) == len(back) == 1 and waiting < back
    assert "restarting" in lines[waiting[0]] and "give_up_after" in lines[waiting[0]]


def test_a_server_that_stays_away_ends_the_run(ask: Ask) -> None:
    with OpenAIServer(echo) as server:
        pass
    with pytest.raises(InfrastructureError, match=r"could not be reached for .*give_up_after = 0.3.*kept"):
        ask(server, 5, give_up_after=0.3)
    with (
        OpenAIServer(echo, fault_of=lambda call: Fault(502, "no upstream")) as gateway,
        pytest.raises(InfrastructureError, match=r"could not be reached for .*no upstream"),
    ):
        ask(gateway, 5, give_up_after=0.3)
