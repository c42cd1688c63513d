"""GRPO over two processes, of which one samples and judges a second longer each: `FOLDER`. Leaves `log.json`."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from trl import GRPOTrainer

from reward.config import JudgeSettings, RewardSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.trl import JudgedReward
from reward.verdict import Judgement
from tests.xcoder_train.training.tiny_grpo import prompt_rows, tiny_model, tiny_trainer
from xcoder_core.models.transformers_backend import Sampled
from xcoder_train.grpo.groups import Groups
from xcoder_train.grpo.prompts import PromptOrder
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer

GROUP, STEPS = 4, 2


def main(folder: str) -> None:
    """Train two steps on one group for each process."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    texts = [f"prompt {number}" for number in range(2 * STEPS)]
    made = tiny_model(texts)

    def sample(trainer: GRPOTrainer, prompts: list[list[int]], seeds: list[int]) -> list[Sampled]:
        time.sleep(state.process_index)
        return [Sampled([10 + row, 11, 12], truncated=True) for row in range(len(prompts))]

    class SlowJudge(Judge):
        async def judge_async(self, submissions: Iterable[Submission], **options: Any) -> list[Judgement]:
            time.sleep(state.process_index)
            return await super().judge_async(submissions, **options)

    prompts, settings = prompt_rows(texts), GrpoSettings(prompts_per_step=2, rollouts=GROUP)
    arguments = {
        "per_device_train_batch_size": GROUP,
        "num_generations": GROUP,
        "max_completion_length": 8,
        "max_steps": STEPS,
    }
    with SlowJudge(JudgeSettings(), workers=1) as judge:
        reward = JudgedReward(judge, {}, RewardSettings(), stop_tokens=frozenset(), text_of=made[1].decode)
        groups = Groups(settings, prompts, PromptOrder(len(texts), 0), sample, reward, Path(folder) / "rollouts")
        trainer = tiny_trainer(
            FrugalGrpoTrainer,
            Path(folder),
            made,
            arguments,
            reward_funcs=reward,
            train_dataset=prompts,
            rollout_func=groups.roll_out,
            groups=groups,
            callbacks=[groups],
        )
        trainer.train()
    if state.is_main_process:
        lines = [line for line in trainer.state.log_history if "reward" in line]
        (Path(folder) / "log.json").write_text(json.dumps(lines))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
