"""Rollouts come from the policy as it is: when its weights change, what it samples and how likely it is follow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.xcoder_train.training import perturbed, pushed_weights
from tests.xcoder_train.training.two_processes import PROJECT, run_on_two_processes

HAS_VLLM = importlib.util.find_spec("vllm") is not None
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU vLLM's dtype is its own")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch sees none")
with_vllm = pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed")
EXACT, IN_16_BITS = 1e-5, 0.05
"""How far a token's log-probability by vLLM may be from the policy's: at most in float32, on average in bfloat16."""
FAR = 0.2
"""How far it is from the policy before its weights were moved, on average."""
SMALL = 1e-5


def _by_vllm(folder: Path, **asked: Any) -> dict[str, Any]:
    """What `perturbed` says, in a process of its own: an engine leaves torch's process groups behind."""
    told = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", perturbed.__name__, str(folder), json.dumps(asked)],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(asked, seen)
    return seen


def _follows(seen: dict[str, Any], dtype: str) -> bool:
    assert seen["apart_from_the_first_policy"] > FAR, seen
    assert seen.get("below_unmoved", True), seen
    return max(seen["apart_most"]) < EXACT if dtype == "float32" else max(seen["apart_mean"]) < IN_16_BITS


def test_rollouts_of_transformers_are_those_of_the_perturbed_policy(tmp_path: Path) -> None:
    _, policies, made = perturbed.two_steps(tmp_path, use_cpu=True, temperature=1e-4)  # always the likeliest token
    for policy, rollouts in zip(policies, made, strict=True):
        assert perturbed.log_probabilities(policy, rollouts)[1].float().mean() > 0.95
    stale = perturbed.log_probabilities(policies[0], made[1])[1]
    assert stale.float().mean() < 0.5


def test_a_server_gets_the_sum_of_weights_and_adapters_and_the_weights_stay_bit_for_bit() -> None:
    """TRL's own adding and subtracting in place leaves other weights behind, in 16 bits."""
    policy, below, expected = pushed_weights.policy_with_adapters()
    adapters = pushed_weights.adapters_of(policy)
    pushed_weights.check_pushed(policy, pushed_weights.plain(), adapters, expected)
    assert all(weights.equal(below[name]) for name, weights in pushed_weights.weights_below(policy).items())


@pytest.mark.slow
def test_vllm_gets_the_same_of_a_policy_that_is_sharded() -> None:
    said = run_on_two_processes(pushed_weights.__name__)
    assert {"checked on 0", "checked on 1"} <= set(said.splitlines())


@pytest.mark.vllm
@pytest.mark.slow
@with_vllm
@on_a_cpu
@pytest.mark.parametrize("layers", [True, False], ids=["layers", "sums"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_log_probabilities_of_vllm_follow_adapters_that_were_perturbed(
    dtype: str, layers: bool, tmp_path: Path
) -> None:
    seen = _by_vllm(tmp_path, dtype=dtype, lora=True, layers=layers)
    assert _follows(seen, dtype), seen
    assert seen["dtypes"] == ["torch.float32"]
    assert seen["lost_by_rounding"] < (1e-6 if dtype == "float32" else 0.01)


@pytest.mark.vllm
@pytest.mark.slow
@with_vllm
@on_a_cpu
@pytest.mark.parametrize(("layers", "least", "most"), [(True, 0.0, 0.01), (False, 0.5, 1.0)], ids=["layers", "sums"])
def test_layers_of_16_bits_have_the_whole_of_an_update_however_small_and_sums_most_of_it_not(
    layers: bool, least: float, most: float, tmp_path: Path
) -> None:
    seen = _by_vllm(tmp_path, dtype="bfloat16", lora=True, layers=layers, moved=SMALL)
    assert least < seen["lost_by_rounding"] < most and seen["below_unmoved"]  # 1 would be an engine without adapters


@pytest.mark.gpu
@on_a_gpu
@with_vllm
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_log_probabilities_of_vllms_rollouts_follow_the_perturbed_policy(lora: bool, tmp_path: Path) -> None:
    assert _follows(_by_vllm(tmp_path, dtype="bfloat16" if lora else "float32", lora=lora, layers=lora), "bfloat16")


@pytest.mark.gpu
@pytest.mark.vllm
@with_vllm
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_log_probabilities_of_vllm_follow_the_perturbed_policy_when_it_slept(lora: bool, tmp_path: Path) -> None:
    """Asleep, vLLM has no weights; they come back from the policy of now."""
    from vllm.platforms import current_platform

    if not current_platform.is_sleep_mode_available():
        from vllm.config import ModelConfig

        perturbed.save_start(tmp_path)
        with pytest.raises(ValueError, match="Sleep mode is not supported") as refused:
            ModelConfig(str(tmp_path / "base"), enable_sleep_mode=True)
        said = next(line for line in str(refused.value).splitlines() if "Sleep mode" in line)
        pytest.skip(f"vLLM: {said.strip()}")
    assert _follows(
        _by_vllm(tmp_path, dtype="bfloat16" if lora else "float32", lora=lora, layers=lora, sleeps=True), "bfloat16"
    )
