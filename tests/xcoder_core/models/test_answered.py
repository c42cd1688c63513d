"""Answers are kept one by one: what was answered is never asked again, whatever ended the process."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai_server import Fault, OpenAIServer

from xcoder_core.errors import InputError
from xcoder_core.models.answered import Answers
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import SamplingSettings, ServerSettings

REPOSITORY = Path(__file__).parents[3]
SAMPLING = SamplingSettings(max_new_tokens=20)
ASKER = """\
import sys
from pathlib import Path
from xcoder_core.models.answered import Answers
from xcoder_core.models.settings import SamplingSettings, ServerSettings
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Request
requests = [Request(f"r{n}", [{"role": "user", "content": f"q{n}"}], n) for n in range(200)]
generator = OpenAIGenerator(ServerSettings(base_url=sys.argv[1], max_concurrency=3), "model")
with Answers(Path(sys.argv[2])) as answers:
    for answer in answers.ask(generator, requests, SamplingSettings(max_new_tokens=20)):
        pass
    answers.seal()
"""


def echo(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
    return f"answer to {messages[-1]['content']}"


def requests(count: int, first: int = 0) -> list[Request]:
    return [Request(f"r{n}", [{"role": "user", "content": f"q{n}"}], n, "tasks") for n in range(first, first + count)]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(echo) as running:
        yield running


@pytest.fixture
def generator(server: OpenAIServer) -> Iterator[OpenAIGenerator]:
    with OpenAIGenerator(ServerSettings(base_url=server.base_url, longest_wait=0.01), "model") as made:
        yield made


def test_a_killed_process_asks_again_only_what_was_in_flight(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with OpenAIServer(echo, seconds_per_token=0.001) as server:
        command = [sys.executable, "-c", ASKER, server.base_url]
        for kills in (1, 2):
            process = subprocess.Popen([*command, str(broken)], env=environment)
            seen = len(server.calls)
            while len(server.calls) < seen + 40:
                assert process.poll() is None
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not broken.exists(), kills
        subprocess.run([*command, str(broken)], env=environment, check=True)
        asked = Counter(call.asked for call in server.calls)
        with OpenAIGenerator(ServerSettings(base_url=server.base_url), "model") as generator, Answers(whole) as answers:
            plain = [Request(request.id, request.messages, request.seed) for request in requests(200)]
            assert len(list(answers.ask(generator, plain, SAMPLING))) == 200
            answers.seal()
    assert len(asked) == 200 and asked.total() <= 200 + 2 * 2 * 3
    assert broken.read_bytes() == whole.read_bytes()


def test_every_request_gets_its_answer_whether_kept_or_new(
    server: OpenAIServer, generator: OpenAIGenerator, tmp_path: Path
) -> None:
    path = tmp_path / "answers.parquet"
    with Answers(path) as answers:
        first = list(answers.ask(generator, requests(6), SAMPLING))
    with Answers(path) as answers:
        second = list(answers.ask(generator, requests(6, first=3), SAMPLING))
        assert sorted(call.asked for call in server.calls[6:]) == ["q6", "q7", "q8"]
        path = answers.seal()
    assert {answer.request_id for answer in second} == {f"r{n}" for n in range(3, 9)}
    assert {answer for answer in second if answer.request_id in ("r3", "r4", "r5")} <= set(first)
    with Answers(path) as sealed:
        assert len(list(sealed.ask(generator, requests(9), SAMPLING))) == 9
        assert {answer.purpose for answer in sealed.kept()} == {"tasks"}
        with pytest.raises(RuntimeError, match="is sealed"):
            list(sealed.ask(generator, requests(10), SAMPLING))
    assert len(server.calls) == 9


def test_what_stayed_unanswered_is_asked_again(
    server: OpenAIServer, generator: OpenAIGenerator, tmp_path: Path
) -> None:
    path = tmp_path / "answers.parquet"
    server.fault_of = lambda call: Fault(400, "too long") if call.asked == "q1" else None
    with Answers(path) as answers:
        assert sum(isinstance(a, Unanswered) for a in answers.ask(generator, requests(3), SAMPLING)) == 1
    server.fault_of = lambda call: None
    with Answers(path) as answers:
        assert all(isinstance(a, Completion) for a in answers.ask(generator, requests(3), SAMPLING))
    assert Counter(call.asked for call in server.calls) == {"q0": 1, "q1": 2, "q2": 1}


def test_a_kept_answer_to_another_question_is_never_handed_out(generator: OpenAIGenerator, tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    with Answers(path) as answers:
        list(answers.ask(generator, requests(2), SAMPLING))
    reworded = [Request("r1", [{"role": "user", "content": "another question"}], 1)]
    reseeded = [Request("r1", [{"role": "user", "content": "q1"}], 5)]
    for changed, sampling in ((reworded, SAMPLING), (reseeded, SAMPLING), (requests(2), SamplingSettings())):
        with Answers(path) as answers, pytest.raises(InputError, match="another prompt, seed or sampling"):
            list(answers.ask(generator, changed, sampling))


def test_two_requests_with_one_id_are_refused(generator: OpenAIGenerator, tmp_path: Path) -> None:
    with Answers(tmp_path / "a.parquet") as answers, pytest.raises(InputError, match="two requests have the id 'r0'"):
        list(answers.ask(generator, [*requests(1), *requests(1)], SAMPLING))
