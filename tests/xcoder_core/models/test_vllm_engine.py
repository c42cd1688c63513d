"""vLLM as a part of ours: answers come one by one, refusals and deaths in its words, and no process outlives us."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.models import vllm_backend
from xcoder_core.models.loading import train_tokenizer
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.models.vllm_backend import VllmGenerator, in_vllm_words, stdout_kept
from xcoder_core.parent_death import VLLM_ENDS_WITH_US, end_with_vllm_owner

CONTEXT = 256
SAMPLING = SamplingSettings(temperature=1, top_p=1, top_k=0, max_new_tokens=40)
ALONE = """
import sys
from transformers import AutoTokenizer
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.models.request import Request
from xcoder_core.models.vllm_backend import VllmGenerator

if __name__ == "__main__":
    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = GenerationSettings(backend="vllm")
    generator = VllmGenerator(folder, tokenizer, settings, trust_remote_code=False, seed=0)
    endless = (Request(str(n), [{"role": "user", "content": "x"}], n) for n in range(10**9))
    for answer in generator.generate(endless, SamplingSettings(max_new_tokens=8)):
        print(answer.request_id, flush=True)
"""

with_vllm = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]


def marked(test: object) -> object:
    for mark in with_vllm:
        test = mark(test)
    return test


@pytest.fixture(autouse=True, scope="module")
def offline_and_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for name in ("VLLM_CPU_KVCACHE_SPACE", "HF_HUB_OFFLINE", "VLLM_CPU_CI_ENV"):  # the last: it compiles nothing
            patched.setenv(name, "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["print(1)"], 300)
    shape = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **shape,
    )
    path = tmp_path_factory.mktemp("engine") / "model"
    Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def open_engine(folder: Path, **settings: object) -> VllmGenerator:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    generation = GenerationSettings(backend="vllm", **settings)
    return VllmGenerator(folder, tokenizer, generation, trust_remote_code=False, seed=0)


def request(name: str, content: str = "x", stop: tuple[str, ...] = ()) -> Request:
    return Request(name, [{"role": "user", "content": content}], 7, stop=stop)


def engine_processes(of: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(of).children(recursive=True) if "VLLM" in " ".join(each.cmdline())]


@pytest.fixture(scope="module")
def engine(folder: Path) -> VllmGenerator:
    return open_engine(folder)


@marked
def test_on_a_cpu_vllm_computes_in_float32_as_transformers_does(engine: VllmGenerator) -> None:
    assert engine.engine.model_config.dtype == torch.float32


@marked
def test_a_long_answer_holds_no_other_up(engine: VllmGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_backend, "REQUESTS_AT_ONCE", 3)
    read: list[str] = []

    def asked() -> Iterator[Request]:
        for name, stop in [("long", ()), *((f"short{n}", ("",)) for n in range(12))]:
            read.append(name)
            # Each character of the vocabulary ends a short one at once.
            yield request(name, stop=tuple(map(chr, range(32, 127))) if stop else ())

    sampling = SAMPLING.model_copy(update={"max_new_tokens": CONTEXT})
    ended = []
    for answer in engine.generate(asked(), sampling):
        ended.append(answer.request_id)
        assert len(read) <= len(ended) + 3
    assert ended[-1] == "long" and len(ended) == 13


@marked
def test_half_a_character_and_tokens_beyond_the_context_end_no_run(engine: VllmGenerator) -> None:
    beyond = SAMPLING.model_copy(update={"max_new_tokens": 10 * CONTEXT})
    asked = [request("half", "\ud83d"), request("replaced", "\ufffd"), request("full", "é" * CONTEXT)]
    found = {answer.request_id: answer for answer in engine.generate(asked, beyond)}
    half, replaced, full = (found[name] for name in ("half", "replaced", "full"))
    assert isinstance(half, Completion) and isinstance(replaced, Completion)
    assert half.token_ids == replaced.token_ids
    assert (half.finish_reason == "length") == (half.prompt_tokens + half.completion_tokens == CONTEXT)
    assert isinstance(full, Unanswered) and f"leaves no room in a context of {CONTEXT}" in full.reason


@marked
def test_a_caller_that_leaves_early_leaves_nothing_running(engine: VllmGenerator) -> None:
    answers = engine.generate((request(str(n)) for n in range(50)), SAMPLING)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert engine.engine.get_num_unfinished_requests() == 0
    (answer,) = engine.generate([request("again")], SAMPLING)
    assert answer.request_id == "again"


@marked
def test_settings_that_vllm_refuses_are_input_in_its_words(folder: Path) -> None:
    with pytest.raises(InputError, match=r"vLLM refuses .*max_model_len \(100000\)"):
        open_engine(folder, max_model_len=100_000)


@marked
def test_what_the_machine_lacks_for_vllm_is_told_in_its_words(folder: Path) -> None:
    from vllm import LLM

    with pytest.raises((EnvironmentLacks, InputError), match="Sleep mode is not supported"), in_vllm_words():
        LLM(str(folder), enable_sleep_mode=True)


@marked
def test_an_engine_that_dies_keeps_what_was_answered_and_is_told_as_what_lacks(folder: Path) -> None:
    generator = open_engine(folder)
    answered = []
    with pytest.raises(EnvironmentLacks, match="vLLM failed: EngineDeadError"):
        for answer in generator.generate((request(str(n)) for n in range(10**6)), SAMPLING):
            answered.append(answer.request_id)
            if len(answered) == 20:
                cores = (each for each in engine_processes(os.getpid()) if "EngineCore" in each.cmdline()[0])
                max(cores, key=psutil.Process.create_time).kill()
    assert len(answered) >= 20


@marked
def test_no_process_outlives_a_killed_run_and_nothing_of_vllm_is_in_its_output(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(ALONE)
    with open(tmp_path / "out", "w") as out:
        run = subprocess.Popen([sys.executable, str(tmp_path / "alone.py"), str(folder)], stdout=out)
    while len((tmp_path / "out").read_text().splitlines()) < 20:
        assert run.poll() is None
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    assert any("VLLM" in " ".join(each.cmdline()) for each in started)
    run.send_signal(signal.SIGKILL)
    run.wait(60)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive
    assert all(line.isdigit() for line in (tmp_path / "out").read_text().splitlines())


def test_an_error_of_ours_is_not_told_as_vllms() -> None:
    with pytest.raises(KeyError), in_vllm_words():
        raise KeyError("ours")


def test_what_is_started_while_standard_output_is_kept_writes_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with stdout_kept():
        subprocess.run(["echo", "a library"], check=True)
    os.write(1, b"our result\n")
    assert capfd.readouterr() == ("our result\n", "a library\n")


def test_a_process_of_an_engine_dies_with_its_owner_and_one_of_others_does_not(tmp_path: Path) -> None:
    assert end_with_vllm_owner() is None  # in a first process it does nothing
    program = (
        "import multiprocessing, os, time\n"
        "from xcoder_core.parent_death import end_with_vllm_owner\n"
        "def engine():\n"
        "    end_with_vllm_owner()\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(3600)\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.get_context('spawn').Process(target=engine).start()\n"
    )
    (tmp_path / "owner.py").write_text(program)
    for ours in (True, False):
        environment = {**os.environ, **({VLLM_ENDS_WITH_US: "1"} if ours else {})}
        owner = subprocess.Popen([sys.executable, "owner.py"], cwd=tmp_path, stdout=subprocess.PIPE, env=environment)
        assert owner.stdout is not None
        engine = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        owner.wait()
        gone, alive = psutil.wait_procs([engine], timeout=30 if ours else 1)
        assert bool(gone) == ours
        for each in alive:
            each.kill()
