"""What vLLM's rollouts need is asked for before a model is loaded, and told with the way out."""

import json
import os
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from transformers import LlamaConfig, LlamaForCausalLM

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.models.folder import KNOWN
from xcoder_train.grpo.adapters import engine_takes
from xcoder_train.grpo.colocated import choose_port, memory_arguments
from xcoder_train.grpo.memory import GIB, engine_memory
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.step_times import server_gauges
from xcoder_train.grpo.vllm_rollouts import SUPPORTED, check_server, check_version, check_vllm, wait_for_server
from xcoder_train.training.settings import LoraSettings

SERVED = {
    "model_config": {"max_model_len": 32768, "logprobs_mode": "processed_logprobs"},
    "weight_transfer_config": {"backend": "nccl"},
}


class Healthy(BaseHTTPRequestHandler):
    """Answers as a vLLM server does that is up; `served` is what it says of itself, None without development mode."""

    served: dict[str, Any] | None = None
    version: str | None = None
    metrics: str | None = None

    def do_GET(self) -> None:
        shown: dict[str, Any] | None = None
        if self.path == "/server_info?config_format=json" and self.served is not None:
            shown = {"vllm_config": self.served}
        elif self.path == "/version" and self.version is not None:
            shown = {"version": self.version}
        measured = self.metrics if self.path == "/metrics" else None
        self.send_response(200 if shown or measured or self.path == "/health" else 404)
        self.end_headers()
        if shown or measured:
            self.wfile.write((measured or json.dumps(shown)).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Healthy) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("version", ["0.27.0", "0.27.1+cu129", "0.30.0", "0.30.0+cpu", "0.30.1"])
def test_versions_that_were_tried_are_taken(version: str) -> None:
    check_version(version)


def test_the_extra_asks_for_what_is_checked_and_for_nothing_that_training_cannot_work_beside() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (asked,) = map(Requirement, project["optional-dependencies"]["vllm"])
    assert (asked.name, asked.specifier) == ("vllm", SUPPORTED)
    (transformers,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "transformers")
    # vLLM 0.31 asks for transformers below 5.18, and training passes an argument that is there since 5.23.
    assert not SUPPORTED.contains("0.31.0") and not transformers.specifier.contains("5.22.9")


@pytest.mark.parametrize("version", ["0.22.0", "0.26.9", "0.31.0", "0.31.0+cu129", "0.31.0.dev1", "1.0"])
def test_other_versions_are_refused_with_the_window(version: str) -> None:
    with pytest.raises(EnvironmentLacks, match=r"pip install 'vllm<0.31,>=0.27'") as refused:
        check_version(version)
    assert f"vLLM {version} is installed" in str(refused.value)


def test_a_machine_without_vllm_is_told_before_anything_loads() -> None:
    with pytest.raises(EnvironmentLacks, match=r"pip install -e '.*\[vllm\]'"):
        check_version(None)
    with pytest.raises(EnvironmentLacks):  # for the package here, or for the GPU where it is installed
        check_vllm(GrpoSettings(generation="vllm_colocate"), has_gpu=False, model="m")


def test_an_engine_gets_its_share_from_the_gpu_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch answers for a GPU that this machine lacks; all else is as on one."""
    model, gpu = "Qwen/Qwen2.5-Coder-7B-Instruct", torch.device("cuda", 0)

    def told(gib: float, start: str = model, **changed: Any) -> dict[str, object]:
        found = SimpleNamespace(total_memory=int(gib * GIB))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
        section = {"generation": "vllm_colocate", "prompts_per_step": 16, "micro_batch": 1, "lora": {}, **changed}
        return memory_arguments(GrpoSettings.model_validate(section), start, gpu)

    planned = engine_memory(
        KNOWN[model], GrpoSettings(generation="vllm_colocate", prompts_per_step=16, micro_batch=1, lora={}), 79 * GIB
    )
    whole = {"vllm_gpu_memory_utilization": planned.share, "vllm_enable_sleep_mode": True}
    assert told(79) == whole and planned.sleeps
    part = told(139.5, launch={"hardware": {"memory_gib": 79}})
    assert part["vllm_gpu_memory_utilization"] == pytest.approx(planned.share * 79 / 139.5)
    given = told(79, training={"vllm_gpu_memory_utilization": 0.4, "vllm_enable_sleep_mode": False})
    assert given == {"vllm_gpu_memory_utilization": 0.4, "vllm_enable_sleep_mode": False}
    with pytest.raises(InputError, match=r"does not fit a device of 23.5 GiB"):
        told(23.5)
    assert told(79, start="some/model") == {} and "left to TRL" in capsys.readouterr().err
    assert told(79, generation="transformers") == told(79, generation="vllm_server") == {}
    assert memory_arguments(GrpoSettings(generation="vllm_colocate"), model, torch.device("cpu")) == {}


def test_a_server_that_is_up_is_waited_for_and_one_that_is_not_is_told_how_to_start(server: str) -> None:
    wait_for_server(server, 5, "m")
    with pytest.raises(EnvironmentLacks, match="within 0 seconds .*trl vllm-serve --model org/name"):
        wait_for_server("http://127.0.0.1:9", 0, "org/name")
    with pytest.raises(EnvironmentLacks, match="404"):
        wait_for_server(f"{server}/elsewhere", 0, "m")


def test_what_a_server_computes_with_is_asked_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Healthy, "served", SERVED)
    assert check_server(server, GrpoSettings(), "m") == {"vllm": None, "dtype": None}
    dtype = {"model_config": {**SERVED["model_config"], "dtype": "torch.bfloat16"}}
    monkeypatch.setattr(Healthy, "served", SERVED | dtype)
    monkeypatch.setattr(Healthy, "version", "0.30.0")
    assert check_server(server, GrpoSettings(), "m") == {"vllm": "0.30.0", "dtype": "torch.bfloat16"}


@pytest.mark.parametrize(
    ("served", "lack"),
    [
        (None, "without VLLM_SERVER_DEV_MODE=1"),
        (SERVED | {"weight_transfer_config": None}, "without --weight-transfer-config"),
        (
            SERVED | {"model_config": {**SERVED["model_config"], "max_model_len": 4096}},
            "has a context of 4096; max_prompt_length . max_completion_length are 32696",
        ),
        (
            SERVED | {"model_config": {**SERVED["model_config"], "logprobs_mode": "raw_logprobs"}},
            "--logprobs-mode raw_logprobs",
        ),
    ],
)
def test_a_server_that_could_not_follow_the_policy_is_told_what_it_lacks(
    served: dict[str, Any] | None, lack: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Healthy, "served", SERVED)
    check_server(server, GrpoSettings(), "m")
    monkeypatch.setattr(Healthy, "served", served)
    with pytest.raises(EnvironmentLacks, match=f"{lack}.* trl vllm-serve --model m"):
        check_server(server, GrpoSettings(), "m")


METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 11.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 99.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.875
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 1e-05
"""


def test_a_servers_gauges_are_read_from_its_metrics(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Healthy, "metrics", METRICS)
    assert server_gauges(server) == {"waiting": 11, "cache_use": 0.875}
    assert server_gauges(f"{server}/elsewhere") == {}
    assert server_gauges("http://127.0.0.1:9") == {}


def test_engines_of_runs_that_start_together_listen_at_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []
    for _ in range(3):
        monkeypatch.setenv("MASTER_PORT", "")
        monkeypatch.delenv("MASTER_PORT")
        choose_port()
        ports.append(os.environ["MASTER_PORT"])
        choose_port()  # what a launcher gave stays
        assert os.environ["MASTER_PORT"] == ports[-1]
    assert len({*ports}) == 3 and "29500" not in ports  # the first that TRL tries


@pytest.mark.parametrize(
    ("lora", "loaded", "expected"),
    [
        (LoraSettings(), "start", True),
        (LoraSettings(targets=("o_proj",)), "start", True),
        (LoraSettings(targets=("o_proj", "lm_head")), "start", False),
        (LoraSettings(), "below an adapter of SFT", False),
        (None, "start", False),
    ],
)
def test_an_engine_takes_adapters_of_linear_layers_above_the_start_that_it_loads(
    lora: LoraSettings | None, loaded: str, expected: bool
) -> None:
    policy = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=32, intermediate_size=8, num_hidden_layers=1))
    policy.name_or_path = loaded
    assert engine_takes(lora, policy, Path("start")) is expected
