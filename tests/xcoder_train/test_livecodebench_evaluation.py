"""`xcoder eval --model M --benchmark livecodebench:NAME` and what follows from its results, by the real command."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer

from evaluation.livecodebench import WINDOWS
from tests.evaluation.releases import answer, write_release

OPTIONS = ["evaluation.livecodebench_folder=release", "evaluation.bootstrap=300", "judge.workers=2"]


def solve(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
    """A model that solves two problems in three, and reads standard input in a way that only plain Python allows."""
    text = answer(messages[-1]["content"])
    if parameters["seed"] % 3 == 0:
        return "I cannot."
    return text.replace(
        "values = list(map(int, input().split()))",
        "for line in __import__('sys').stdin:\n    values = list(map(int, line.split()))",
    )


def test_a_name_that_is_no_window_is_answered_with_the_list(terminal: Any) -> None:
    refused = terminal.xcoder("eval", "--model", "m", "--server", "http://host/v1", "--benchmark", "livecodebench:v5")
    assert refused.returncode == 2
    assert all(f"livecodebench:{name}" in refused.stderr for name in WINDOWS)


@pytest.mark.slow
def test_a_window_is_measured_without_a_recipe_through_a_kill_and_judged_by_both_policies(terminal: Any) -> None:
    write_release(terminal.folder / "release")
    with OpenAIServer(solve, models=("a-name",), seconds_per_token=0.001) as server:
        command = ["eval", "--model", "a-name", "--benchmark", "livecodebench:v6-131", "--server", server.base_url]
        command += [*OPTIONS, "evaluation.samples=2", "evaluation.k=[1,2]", "evaluation.extraction=livecodebench"]
        command += ["evaluation.policies=[faithful,livecodebench]", "evaluation.prompt=livecodebench"]
        process = terminal.start(*command)
        while sum(call.answered for call in server.calls) < 40:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = Counter(call.body["seed"] for call in server.calls if call.answered)
        done = terminal.xcoder(*command)
        assert done.returncode == 0, done.stderr
        answered = Counter(call.body["seed"] for call in server.calls if call.answered)
    assert len(answered) == 262 and len(before) < 262
    assert sum(count > 1 for count in answered.values()) <= 64  # what was in flight when the kill came
    (path,) = (terminal.folder / "runs" / "eval-a-name" / "evaluation").glob("base-*/scores.json")
    scores = json.loads(path.read_text())
    entry = scores["benchmarks"]["livecodebench:v6-131"]
    assert entry["pass_at_1"]["problems"] == 131 and 0.5 < entry["pass_at_1"]["mean"] < 0.8
    assert entry["policies"]["livecodebench"]["pass_at_1"]["mean"] < entry["pass_at_1"]["mean"]
    assert set(scores["policy_differences"]["verdicts"]) == {"faithful AC, livecodebench RE"}
    assert set(entry["pass_at_1"]["by_month"]) == {"2025-02", "2025-03", "2025-04"}
    assert "DECONTAMINATION UNKNOWN" in done.stdout and "2025-02-01..2025-05-01" in done.stdout
    assert "pass@2 by platform" in (path.parents[1] / "breakdowns.md").read_text()

    official = next((path.parent / "official" / "livecodebench-v6-131").glob("*_eval_all.json"))
    again = ["eval", "--rejudge", str(official), "--benchmark", "livecodebench:v6-131"]
    rejudged = terminal.xcoder(*again, *OPTIONS, "evaluation.k=[1,2]")
    assert rejudged.returncode == 0, rejudged.stderr
    (second,) = (terminal.folder / "runs").glob("rejudge-*/evaluation/*/scores.json")
    ours = json.loads(second.read_text())["benchmarks"]["livecodebench:v6-131"]["pass_at_1"]["mean"]
    assert ours == pytest.approx(entry["pass_at_1"]["mean"])

    compared = terminal.xcoder("eval", "--compare", str(path.parent), "--compare", str(second.parent))
    assert compared.returncode == 0, compared.stderr
    assert "paired differences" in compared.stdout and "+0.0" in compared.stdout


def test_commands_without_a_model_say_what_they_need(terminal: Any, tmp_path: Path) -> None:
    refused = terminal.xcoder("eval", "--rejudge", "x.json")
    assert refused.returncode == 2 and "needs one --benchmark" in refused.stderr
    alone = terminal.xcoder("eval", "--compare", str(tmp_path))
    assert alone.returncode == 2 and "--compare at least twice" in alone.stderr
    itself = terminal.xcoder("eval", "--compare", str(tmp_path), "--compare", f"{tmp_path}/../{tmp_path.name}")
    assert itself.returncode == 2 and "--compare names one folder twice" in itself.stderr


def save_tiny_model(folder: Path) -> None:
    """A random model of bytes, with a chat template: what it writes is noise, and every part before and after runs."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: index for index, name in enumerate(["<pad>", "<end>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    wrapped.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    wrapped.save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Qwen2ForCausalLM(
        Qwen2Config(**shape, num_key_value_heads=1, vocab_size=len(vocabulary), max_position_embeddings=4096)
    ).save_pretrained(folder)


@pytest.mark.slow
def test_a_model_in_a_folder_is_measured_by_transformers(terminal: Any) -> None:
    write_release(terminal.folder / "release", (6,))
    save_tiny_model(terminal.folder / "model")
    command = ["eval", "--model", "./model", "--benchmark", "livecodebench:v6-175", *OPTIONS, "evaluation.samples=1"]
    done = terminal.xcoder(*command, "evaluation.k=[1]", "evaluation.sampling.max_new_tokens=4")
    assert done.returncode == 0, done.stderr
    (path,) = (terminal.folder / "runs").glob("eval-*/evaluation/base-*/scores.json")
    entry = json.loads(path.read_text())["benchmarks"]["livecodebench:v6-175"]
    assert entry["pass_at_1"]["problems"] == 175 and entry["failures"]["none"] == 0
    assert entry["truncated"] + entry["failures"]["no_code"] >= 175
