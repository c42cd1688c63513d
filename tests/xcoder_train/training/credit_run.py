"""GRPO on rollouts that say what they are worth; every row that reaches the loss is written down with its advantage.

Run by `test_credit.py` in one process, or by torchrun as `python -m tests.xcoder_train.training.credit_run FOLDER
PROCESSES CHECKPOINT JSON`, where CHECKPOINT is a folder to go on from or `-`, and JSON what `train` is given.
"""

import dataclasses
import json
import random
import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerState, TrainingArguments
from trl import GRPOTrainer

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.test_table import TestTable
from reward.trl import JudgedReward
from reward.verdict import Judgement, Verdict
from tests.xcoder_train.training.tiny_grpo import prompt_rows, tiny_model, tiny_trainer
from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_core.models.chat import stop_token_ids
from xcoder_core.models.transformers_backend import Sampled
from xcoder_core.problem import Limits, Problem, TestCase
from xcoder_core.records import write_records
from xcoder_core.stage import SynthLayout
from xcoder_train.grpo.groups import Groups
from xcoder_train.grpo.prompts import PromptOrder
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer

PROBLEMS, TESTS, GROUP, STEPS = 6, 4, 4, 4
PROMPTS_PER_STEP = 3  # three groups of four over two processes: the middle group is half here, half there
CUT_OFF = -1.0
LOST = "the sandbox of this one dies"
MANY_PROBLEMS = 24
"""Where groups are replaced, so many that no step has a problem twice."""
ALIKE = 3
"""The rollouts of every so-many-th problem all get one reward."""
PLAIN = {"truncated": CUT_OFF}
"""The settings of the reward where a test gives none."""
MEASURED = "geometric_bounds"
"""With these bounds rollouts bring the policy's log-probabilities with them, and are corrected as vLLM's are."""


def worth(prompt: str, completion: str, cut_off: bool) -> float | None:
    """The reward of a rollout, read off its own text: X-Coder's, and less where it was cut off; None where it is lost.

    A program passes its number of tests on its own problem only.
    """
    if LOST in completion:
        return None
    program = re.search(r"print\((\d+)00 \+ n if n < (\d)", completion)
    own = -2.0 if program is None else 5.0 * int(program[2]) / TESTS
    assert program is None or int(program[1]) == problem_number(prompt)
    return own + (CUT_OFF if cut_off else 0.0)


def problem_number(prompt: str) -> int:
    """The number in a prompt."""
    return int(re.findall(r"problem (\d+)", prompt)[-1])


def completion_for(prompt: str, name: str) -> tuple[str, bool]:
    """A rollout of many kinds and lengths, and whether it is cut off. `name` is in it, so no two are alike."""
    chance = random.Random(name + prompt)
    problem, passed = problem_number(prompt), chance.randrange(TESTS + 1)
    if problem % ALIKE == 0:
        return f"```python\nn = int(input())\nprint({problem}00 + n if n < 2 else -1)  # {name}\n```", False
    remark = f"{name} {LOST if chance.random() < 0.25 else 'x' * chance.randrange(30)}"
    program = f"n = int(input())\nprint({problem}00 + n if n < {passed} else -1)  # {remark}"
    text = f"I do not know ({name})." if chance.random() < 0.2 else f"```python\n{program}\n```"
    return text, chance.random() < 0.3


def graded_completion_for(prompt: str, name: str) -> tuple[str, bool]:
    """A rollout that is right as often as its problem's number says: the first problem never, the last one always."""
    problem = problem_number(prompt)
    is_right = random.Random(name + prompt).random() < problem / (MANY_PROBLEMS - 1)
    passed = TESTS if is_right else 0
    return f"```python\nn = int(input())\nprint({problem}00 + n if n < {passed} else -1)  # {name}\n```", False


class LossyJudge(Judge):
    """The real judge of which some verdicts are lost, as they are where a sandbox dies."""

    async def judge_async(self, submissions: Iterable[Submission], **options: Any) -> list[Judgement]:
        """As the judge, and nothing is known about the programs that say so."""
        submissions = list(submissions)
        judged = await super().judge_async(submissions, **options)
        return [
            dataclasses.replace(one, verdict=Verdict.IE, passed=0, tests=()) if LOST in asked.code else one
            for asked, one in zip(submissions, judged, strict=True)
        ]


class EngineWithTheWeights(TrainerCallback):
    """Tells TRL that what samples has the policy's weights already."""

    def __init__(self, trainer: GRPOTrainer) -> None:
        self.trainer = trainer
        trainer.use_vllm, trainer.vllm_generation = True, SimpleNamespace()  # an engine that nobody asks

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """As after a synchronisation."""
        self.trainer._last_loaded_step = state.global_step


def log_probabilities(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> list[float]:
    """Of a completion's tokens by the policy as it is."""
    with torch.no_grad():
        scores = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return scores.gather(1, torch.tensor(completion)[:, None])[:, 0].tolist()


class WatchedTrainer(FrugalGrpoTrainer):
    """The project's trainer; `rows` are those that reach the loss, with what reaches it beside them."""

    rows: list[dict[str, Any]]

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        for row, advantage in enumerate(inputs["advantages"].tolist()):
            texts = [
                self.processing_class.decode(
                    inputs[f"{part}_ids"][row][inputs[f"{part}_mask"][row].bool()], skip_special_tokens=True
                )
                for part in ("prompt", "completion")
            ]
            self.rows.append(
                {
                    "rank": self.accelerator.process_index,
                    "step": self.state.global_step + 1,
                    "prompt": texts[0],
                    "completion": texts[1],
                    "tokens": int(inputs["completion_mask"][row].sum()),
                    "advantage": advantage,
                }
            )
        return super()._compute_loss(model, inputs)


def _tests(folder: Path, names: list[str]) -> TestTable:
    layout = SynthLayout(folder)
    with PartialState().main_process_first():
        if not layout.problems.exists():
            problems = [Problem(name, name, "codeforces", "stdin", limits=Limits(5, 256)) for name in names]
            cases = [
                TestCase(name, test, f"{test}", f"{number * 100 + test}")
                for number, name in enumerate(names)
                for test in range(TESTS)
            ]
            write_records(layout.tests, TestCase, cases, ("problem_id", "index"))
            write_records(layout.problems, Problem, problems, ("problem_id",))
        return TestTable(layout, folder / "tests.arrow", at_most=None, seed=0)


def train(folder: Path, processes: int, checkpoint: str | None = None, **given: Any) -> None:
    """Leaves `rows-RANK.json`, `log-RANK.json`, `model/`, `rollouts/`, tables of completions and checkpoints.

    `given` are keys of our settings, and any argument of TRL's. With `graded` rollouts are right as often as their
    problem's number says.
    """
    bounds = given.pop(MEASURED, None)
    completion = graded_completion_for if given.pop("graded", False) else completion_for
    of_ours = {name: given.pop(name) for name in [*given] if name in GrpoSettings.model_fields}
    section = GrpoSettings(**{"prompts_per_step": PROMPTS_PER_STEP, "rollouts": GROUP, "reward": PLAIN, **of_ours})
    state = PartialState(cpu=True)
    assert state.num_processes == processes
    updates = section.updates_per_rollouts
    are_chosen = (section.dynamic_sampling, section.online_rates, section.rollouts_from) != (None, None, None)
    names = [f"problem {number}" for number in range(updates * MANY_PROBLEMS if are_chosen else PROBLEMS)]
    model, tokenizer = made = tiny_model(names)

    def sample(trainer: GRPOTrainer, prompts: list[list[int]], seeds: list[int]) -> list[Sampled]:
        made = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            problem = problem_number(tokenizer.decode(prompt))
            text, cut_off = completion(f"problem {problem}", f"seed {seed} of step {trainer.state.global_step}")
            ids = tokenizer.encode(text) + ([] if cut_off else [tokenizer.eos_token_id])
            known = [-1.0] * len(ids) if bounds is None else log_probabilities(trainer.model, prompt, ids)
            made.append(Sampled(ids, cut_off, known))
        return made

    per_process = PROMPTS_PER_STEP * GROUP // processes
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": per_process // 2,
        "steps_per_generation": per_process // 2 * updates,
        "num_generations": GROUP,
        "max_completion_length": 400,
        "max_steps": STEPS,
        "save_strategy": "steps",
        "save_steps": 2,
        "learning_rate": 1e-3,
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "log_completions": True,
        "num_completions_to_print": 0,
        "seed": 1,
        **given,
    }
    with LossyJudge(JudgeSettings(), workers=1) as judge:
        reward = JudgedReward(
            judge,
            _tests(folder.parent / f"tests of {len(names)}", names),
            section.reward,
            stop_tokens=stop_token_ids(tokenizer, model),
            maximum_excluded_share=1.0,
            seed=0,
            text_of=partial(tokenizer.decode, skip_special_tokens=True),
            length_limit=section.length_limit,
        )
        prompts = prompt_rows(names)
        groups = Groups(section, prompts, PromptOrder(len(names), 7), sample, reward, folder / "rollouts")
        trainer = tiny_trainer(
            WatchedTrainer,
            folder / "checkpoints",
            made,
            arguments,
            reward_funcs=reward,
            train_dataset=prompts,
            rollout_func=groups.roll_out,
            groups=groups,
            geometric_bounds=bounds,
            callbacks=[groups],
        )
        if bounds is not None:
            trainer.add_callback(EngineWithTheWeights(trainer))
        trainer.rows = []
        trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(str(folder / "model"))
    (folder / f"rows-{state.process_index}.json").write_text(json.dumps(trainer.rows))
    (folder / f"log-{state.process_index}.json").write_text(json.dumps(trainer.state.log_history))


def run(folder: Path, processes: int = 1, checkpoint: Path | None = None, **given: Any) -> Path:
    """A run on so many processes, from the beginning or from a checkpoint."""
    if processes == 1:
        train(folder, 1, None if checkpoint is None else str(checkpoint), **given)
    else:
        arguments = (str(folder), str(processes), str(checkpoint or "-"), json.dumps(given))
        run_on_two_processes("tests.xcoder_train.training.credit_run", *arguments)
    return folder


def main(folder: str, processes: str, checkpoint: str, given: str) -> None:
    """The command line."""
    train(Path(folder), int(processes), None if checkpoint == "-" else checkpoint, **json.loads(given))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
