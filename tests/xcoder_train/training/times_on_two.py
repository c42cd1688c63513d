"""GRPO over two processes, of which one samples and the other judges a second longer: `FOLDER`. Leaves `log.json`."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from trl import GRPOConfig

from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.training.start import quiet_libraries

GROUP, STEPS = 4, 2


def main(folder: str) -> None:
    """Train two steps on one group for each process."""
    quiet_libraries()
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    texts = [f"prompt {number}" for number in range(2 * STEPS)]
    init = InitSettings(hidden_size=16, intermediate_size=16, layers=1, heads=2, kv_heads=1, context=64, vocabulary=300)
    model, tokenizer = initialise_model(init, texts, seed=0)

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        time.sleep(state.process_index)
        completions = [[10 + row, 11, 12] for row in range(len(prompts))]
        ids = [prompt_token_ids(tokenizer, prompt) for prompt in prompts]
        return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}

    async def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        time.sleep(1 - state.process_index)
        return [float(ids[0]) for ids in completion_ids]

    trainer = FrugalGrpoTrainer(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            max_completion_length=8,
            max_steps=STEPS,
            logging_steps=1,
            save_strategy="no",
            activation_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in texts]),
        processing_class=tokenizer,
        rollout_func=roll_out,
    )
    trainer.train()
    if state.is_main_process:
        lines = [line for line in trainer.state.log_history if "reward" in line]
        (Path(folder) / "log.json").write_text(json.dumps(lines))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
