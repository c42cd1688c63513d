"""Two steps of GRPO whose policy is moved far between them: `python -m … FOLDER JSON` prints what vLLM made of it.

The engine runs in this process. On a CPU vLLM needs what `colocated_on_cpu` says, and in 16 bits one thing more, which
are set here; its dtype is the policy's. JSON: `dtype` of the policy, `lora` for adapters in float32 above it (`layers`
says whether the engine has layers for them), `moved` by how much each trained weight is moved, `sleeps` for vLLM's
sleep mode.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from xcoder_core.models.loading import initialise_model, save_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.training.settings import LoraSettings
from xcoder_train.training.start import quiet_libraries
from xcoder_train.training.weights import lora_config

PROMPTS = ["a", "longer prompt", "b" * 17, "c d"]
LORA = LoraSettings(rank=4, alpha=8, targets=["o_proj", "down_proj"])


class Perturb(TrainerCallback):
    """Moves every trained weight, once, between the first step and the second."""

    def __init__(self, moved: float) -> None:
        self.moved = moved

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 1:
            drawn = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        change = torch.randn(parameter.shape, generator=drawn) * self.moved
                        parameter.add_(change.to(parameter.device, parameter.dtype))


def save_start(folder: Path, dtype: str = "float32") -> None:
    """A tiny model, in `base`, with heads as wide as vLLM wants them."""
    init = InitSettings(
        hidden_size=128, intermediate_size=96, layers=2, heads=2, kv_heads=1, context=128, vocabulary=300
    )
    model, tokenizer = initialise_model(init, PROMPTS, seed=0)
    save_model(model.to(getattr(torch, dtype)), tokenizer, folder / "base")  # type: ignore[arg-type]


def two_steps(
    folder: Path, moved: float = 0.3, dtype: str = "float32", lora: bool = False, layers: bool = False, **changed: Any
) -> tuple[FrugalGrpoTrainer, list[torch.nn.Module], list[dict[str, Any]]]:
    """The trainer, a copy of its policy at each step, and that step's rollouts."""
    quiet_libraries()
    save_start(folder, dtype)
    policies: list[torch.nn.Module] = []
    made: list[dict[str, Any]] = []
    config = lora_config(LORA if lora else None)

    class Watched(FrugalGrpoTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            policy = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=getattr(torch, dtype))
            policies.append(get_peft_model(policy, config) if config is not None else policy)
            policies[-1].load_state_dict({name: value.cpu() for name, value in self.model.state_dict().items()})
            made.append(super()._generate_and_score_completions(inputs))
            return made[-1]

    arguments = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 8,
        "num_generations": 2,
        "max_completion_length": 12,
        "max_steps": 2,
        "learning_rate": 1e-9,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        **changed,
    }
    trainer = Watched(
        model=AutoModelForCausalLM.from_pretrained(folder / "base", dtype=getattr(torch, dtype)),
        reward_funcs=lambda prompts, **_: [0.0] * len(prompts),
        args=GRPOConfig(**arguments),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS * 2]),
        processing_class=AutoTokenizer.from_pretrained(folder / "base", padding_side="left"),
        peft_config=config,
        engine_lora=LORA if layers else None,
        callbacks=[Perturb(moved)],
    )
    trainer.train()
    assert len(made) == 2
    return trainer, policies, made


def log_probabilities(policy: torch.nn.Module, rollouts: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every completion token under the policy, and whether it is the likeliest; both flat, without padding."""
    parts = {name: value.cpu() for name, value in rollouts.items() if isinstance(value, torch.Tensor)}
    ids = torch.cat([parts["prompt_ids"], parts["completion_ids"]], 1)
    mask = torch.cat([parts["prompt_mask"], parts["completion_mask"]], 1)
    start = parts["prompt_ids"].shape[1]
    with torch.no_grad():
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.eval()(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False).logits
    every = logits[:, start - 1 : -1].float().log_softmax(-1)
    real = parts["completion_mask"].bool()
    of_tokens = every.gather(-1, parts["completion_ids"][..., None])[..., 0]
    return of_tokens[real], (every.argmax(-1) == parts["completion_ids"])[real]


def main(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Run the two steps with a colocated engine; how far its log-probabilities and weights are from the policy's."""
    if not torch.cuda.is_available():
        import trl.generation.vllm_generation as trl_vllm
        from vllm import _custom_ops
        from vllm.model_executor.layers import utils

        _custom_ops._supports_onednn = False
        utils.check_cpu_sgl_kernel = lambda *_: False  # which packs small layers of 16 bits, and drops their weights
        trl_vllm.LLM = functools.partial(trl_vllm.LLM, dtype=asked["dtype"], enforce_eager=True)
    vllm = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.2}
    sleeps = asked.pop("sleeps", False)
    trainer, policies, made = two_steps(folder, vllm_enable_sleep_mode=sleeps, **vllm, **asked)
    apart, stale = [], []
    for policy, rollouts in zip(policies, made, strict=True):
        sampled = rollouts["sampling_per_token_logps"].cpu()[rollouts["completion_mask"].bool().cpu()]
        apart.append((sampled - log_probabilities(policy, rollouts)[0]).abs())
        stale.append((sampled - log_probabilities(policies[0], rollouts)[0]).abs())
    told: dict[str, Any] = {
        "apart_mean": [each.mean().item() for each in apart],
        "apart_most": [each.max().item() for each in apart],
        "apart_from_the_first_policy": stale[1].mean().item(),
    }
    if asked.get("lora"):
        start = AutoModelForCausalLM.from_pretrained(folder / "base").state_dict()
        told |= _weights(trainer, start)
    return told


def _weights(trainer: FrugalGrpoTrainer, start: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Whether the weights below the adapters are as they were, and how much of the adapters the engine lacks."""
    policy = dict(trainer.model.named_parameters())
    below = {name: weights for name, weights in policy.items() if "lora" not in name}
    as_loaded = {name: start[name.removeprefix("base_model.model.").replace(".base_layer", "")] for name in below}
    told: dict[str, Any] = {
        "below_unmoved": all(weights.cpu().equal(as_loaded[name]) for name, weights in below.items()),
        "dtypes": sorted({str(weights.dtype) for name, weights in policy.items() if "lora" in name}),
    }
    trainer.vllm_generation.sync_weights()  # what sleeps holds nothing
    engine = trainer.vllm_generation.llm
    if engine.llm_engine.vllm_config.lora_config is not None:
        engine.llm_engine.add_lora(engine.generate.keywords["lora_request"])
    held = dict(engine.llm_engine.model_executor.driver_worker.model_runner.model.named_modules())
    wanted = lost = 0.0
    for name, layer in trainer.model.named_modules():
        if hasattr(layer, "get_delta_weight"):
            name = name.removeprefix("base_model.model.")
            if hasattr(held[name], "lora_a_stacked"):
                (into,), (out_of,) = held[name].lora_a_stacked, held[name].lora_b_stacked
                of_engine = out_of[0, 0].double() @ into[0, 0].double()
            else:
                of_engine = held[name].weight.detach().cpu().double() - start[f"{name}.weight"].double()
            of_policy = layer.get_delta_weight("default").detach().to(of_engine.device).double()
            wanted += of_policy.norm().item() ** 2
            lost += (of_engine - of_policy).norm().item() ** 2
    return {**told, "lost_by_rounding": (lost / wanted) ** 0.5}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))
