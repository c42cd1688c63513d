"""The benchmarks of training run to their end on a CPU at a tiny size, and count what they say they count."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import grpo, sft
from benchmarks.sft_peers import documents
from xcoder_train.training.arithmetic import training_flops_per_token


def test_sft_on_a_gpu_runs_on_a_cpu_at_tiny_size(tmp_path: Path) -> None:
    small = ["--model", "tiny", "--length", "128", "--micro-batch", "2", "--steps", "3", "--rounds", "1"]
    result = sft.main([*small, "--output", str(tmp_path / "r.json")])
    assert json.loads((tmp_path / "r.json").read_text()) == result
    assert set(result["setups"]) == {"own", "tuned", "plain"} and result["out_of_memory"] == {}
    assert (result["attention"], result["activations"]) == ("sdpa", "checkpointed")
    for figures in result["setups"].values():
        (run,) = figures["rounds"]
        assert 0 < run["tokens"] <= 2 * 2 * 128  # two counted steps of two rows
        assert figures["tokens_per_second"] == pytest.approx(run["tokens"] / run["seconds"])
        assert run["final_loss"] == pytest.approx(6.87, abs=0.3)  # ln 960: random tokens teach nothing
    rates = {name: figures["tokens_per_second"] for name, figures in result["setups"].items()}
    assert result["own_over"]["plain"] == pytest.approx(rates["own"] / rates["plain"])
    losses = {name: figures["rounds"][0]["final_loss"] for name, figures in result["setups"].items()}
    assert losses["own"] == pytest.approx(losses["tuned"], rel=1e-4)  # the same rows in the same order


def test_grpo_on_a_gpu_runs_on_a_cpu_at_tiny_size() -> None:
    result = grpo.main(["--model", "tiny", "--prompts", "2", "--rollouts", "4", "--steps", "1", "--new-tokens", "16"])
    assert result["completions_judged"] == 8
    assert sum(result["share"].values()) == pytest.approx(1)
    assert all(share > 0 for share in result["share"].values())


def test_one_recorded_completion_in_twenty_is_endless(tmp_path: Path) -> None:
    recorded = grpo.Recorded.__new__(grpo.Recorded)
    recorded.pool, recorded.drawn, recorded.given = {"p": ["x"]}, grpo.random.Random(0), 0  # type: ignore[assignment]
    texts = [completion[0]["content"] for completion in recorded(["p"] * 1000)]
    assert texts.count(grpo.ENDLESS) == 50


def test_documents_are_as_long_as_in_the_papers_data() -> None:
    lengths = [len(document["input_ids"]) for document in documents(400, 1000, 900, 0)]
    assert 530 < sum(lengths) / 400 < 590 and max(lengths) <= 1000


def test_model_flops_of_the_7b_are_those_counted_by_hand() -> None:
    shape = sft.SHAPES["qwen2.5-7b"]
    block = 3584 * 3584 * 2 + 2 * 3584 * 512 + 3 * 3584 * 18944  # attention's and the feed-forward's matrices
    small = 28 * (2 * 3584 + 3584 + 2 * 512) + 3584  # norms and biases
    matrices = 28 * block + 152064 * 3584 + small
    assert training_flops_per_token(shape, 0) == 6 * matrices
    assert training_flops_per_token(shape, 8192) - 6 * matrices == 12 * 28 * 3584 * 8192 / 2
    assert training_flops_per_token(shape, 0, adapter_parameters=10**6) == 4 * matrices + 6e6
