"""A real vLLM server with a tiny model. Where vLLM has an environment of its own, VLLM_PYTHON names its interpreter."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.xcoder_core.models.conftest import CONTEXT_FOR_VLLM
from xcoder_core.errors import InputError
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import SamplingSettings, ServerSettings
from xcoder_core.models.transformers_backend import TransformersGenerator

PYTHON = os.environ.get("VLLM_PYTHON", sys.executable)

pytestmark = [
    pytest.mark.vllm_server,
    pytest.mark.skipif(
        "VLLM_PYTHON" not in os.environ and importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
    ),
]


class Server:
    """Starts vLLM's server on a port of its own, as often as it is asked to."""

    def __init__(self, model: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.settings = ServerSettings(base_url=f"{self.url}/v1", model=str(model), kind="vllm", give_up_after=20)
        self.log = folder / "log"

    def start(self) -> None:
        """Return at once; `wait_until_healthy` follows."""
        told = f"--model {self.settings.model} --host 127.0.0.1 --port {self.url.rsplit(':')[-1]} --dtype float32"
        told += f" --max-model-len {CONTEXT_FOR_VLLM} --enforce-eager"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "vllm.entrypoints.openai.api_server", *told.split()],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Return once it answers."""
        _wait_until_healthy(self.url, self.process, self.log)

    def kill(self) -> None:
        """As the kernel does, with its engine, which vLLM leaves behind."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """In order."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            os.killpg(self.process.pid, signal.SIGKILL)  # an engine that died leaves its workers behind


@pytest.fixture(scope="module")
def running(local_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(local_folder, tmp_path_factory.mktemp("server"))
    started.start()
    try:
        started.wait_until_healthy()
        yield started
    finally:
        started.end()


@pytest.fixture
def server(running: Server) -> ServerSettings:
    return running.settings


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(400):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


def requests(count: int) -> list[Request]:
    return [Request(f"r{n}", [{"role": "user", "content": "print(" + "1" * n}], 100 + n) for n in range(count)]


def test_greedy_answers_and_token_counts_are_those_of_the_model_in_this_process(
    server: ServerSettings, local: TransformersGenerator
) -> None:
    sampling = SamplingSettings(temperature=0, top_p=1, top_k=0, max_new_tokens=24)
    here = {answer.request_id: answer for answer in local.generate(requests(12), sampling)}
    with OpenAIGenerator(server, "") as generator:
        there = {answer.request_id: answer for answer in generator.generate(requests(12), sampling)}
    assert there.keys() == here.keys()
    for name, answer in there.items():
        assert isinstance(answer, Completion)
        assert (answer.prompt_tokens, answer.finish_reason) == (here[name].prompt_tokens, here[name].finish_reason)
        assert answer.completion_tokens == here[name].completion_tokens
        # vLLM holds back a character whose last bytes are cut off.
        assert answer.text.rstrip("\ufffd") == here[name].text.rstrip("\ufffd")
    assert generator.usage.completion_tokens == sum(answer.completion_tokens for answer in here.values())


@pytest.mark.parametrize("text", ["plain", "emoji 🙂🙂 ünï", "<|im_end|> inside", "\x00null", "tab\tnl\n\n  spaces  "])
def test_a_prompt_is_token_for_token_what_it_is_in_this_process(
    text: str, running: Server, local: TransformersGenerator
) -> None:
    messages = [{"role": "user", "content": text}]
    asked = {"model": running.settings.model, "messages": messages, "max_tokens": 1, "return_token_ids": True}
    sent = urllib.request.Request(
        f"{running.url}/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=60) as answer:
        assert json.load(answer)["prompt_token_ids"] == prompt_token_ids(local.tokenizer, messages)


def test_equal_seeds_give_equal_samples_in_any_order_and_others_differ(server: ServerSettings) -> None:
    sampling = SamplingSettings(temperature=1, top_p=0.9, top_k=40, repetition_penalty=1.2, max_new_tokens=24)
    with OpenAIGenerator(server, "") as generator:
        first = {answer.request_id: answer for answer in generator.generate(requests(6), sampling)}
        again = {answer.request_id: answer for answer in generator.generate(requests(6)[::-1], sampling)}
        one_prompt = [Request(f"s{n}", requests(1)[0].messages, n) for n in range(6)]
        texts = {answer.text for answer in generator.generate(one_prompt, sampling) if isinstance(answer, Completion)}
    assert first == again and len(texts) > 3


def test_a_prompt_beyond_the_context_is_unanswered_with_the_servers_words(server: ServerSettings) -> None:
    long = Request("long", [{"role": "user", "content": "é" * CONTEXT_FOR_VLLM}], 0)
    with OpenAIGenerator(server, "") as generator:
        answers = list(generator.generate([long, *requests(2)], SamplingSettings(max_new_tokens=8)))
    (refused,) = (answer for answer in answers if isinstance(answer, Unanswered))
    assert refused.request_id == "long" and str(CONTEXT_FOR_VLLM) in refused.reason
    assert generator.usage.retries == 0


def test_a_model_that_is_not_served_is_named(server: ServerSettings) -> None:
    with (
        OpenAIGenerator(server.model_copy(update={"model": "another"}), "") as generator,
        pytest.raises(InputError, match="knows no model 'another'"),
    ):
        list(generator.generate(requests(3), SamplingSettings(max_new_tokens=8)))


def test_a_killed_server_is_waited_for_and_nothing_is_asked_again_that_was_answered(
    running: Server, local: TransformersGenerator
) -> None:
    sampling = SamplingSettings(temperature=0, top_p=1, top_k=0, max_new_tokens=24)
    settings = running.settings.model_copy(update={"give_up_after": 600, "max_concurrency": 4})
    asked = [Request(f"r{n}", request.messages, n) for n, request in enumerate(requests(12) * 5)]
    expected = {answer.request_id: answer for answer in local.generate(asked, sampling)}
    with OpenAIGenerator(settings, "") as generator:
        found = []
        for answer in generator.generate(asked, sampling):
            found.append(answer)
            if len(found) == 10:
                running.kill()
                running.start()
    assert sorted(answer.request_id for answer in found) == sorted(expected)
    for answer in found:
        assert isinstance(answer, Completion), answer
        assert answer.text.rstrip("\ufffd") == expected[answer.request_id].text.rstrip("\ufffd")
    # Each answer was counted once, so none was paid for twice.
    assert generator.usage.completion_tokens == sum(answer.completion_tokens for answer in expected.values())
    running.wait_until_healthy()
