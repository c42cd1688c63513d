"""Several optimiser updates for each set of rollouts: the old policy is the one that sampled, and a resume is exact."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
import yaml

from tests.xcoder_train.training.tiny_grpo import prompt_rows, tiny_model, tiny_trainer
from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.settings import require
from xcoder_train.ablation.runs import Ablation
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
UPDATES, GROUP, PROMPTS = 3, 4, 6
CHANGED: dict[str, Any] = {"updates_per_rollouts": 2, "training": {"max_steps": 6, "save_steps": 2}}


class WatchedTrainer(FrugalGrpoTrainer):
    """Writes down, for each micro-batch, the step, the old log-probabilities, and those of the weights of now."""

    seen: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        with torch.no_grad():
            now = self._get_per_token_logps_and_entropies(model, ids, mask, inputs["completion_ids"].shape[1])[0]
        real = inputs["completion_mask"].bool()
        self.seen.append(
            (self.state.global_step, inputs["completion_ids"][real], inputs["old_per_token_logps"][real], now[real])
        )  # type: ignore[index]
        return super()._compute_loss(model, inputs)


def test_the_old_policy_of_every_update_is_the_one_that_sampled(tmp_path: Path) -> None:
    texts = [f"prompt {number}" for number in range(PROMPTS)]
    model, tokenizer = tiny_model(texts, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2)

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        step = trainer.state.global_step
        completions = [
            [10 + (7 * row + 3 * place + step) % 200 for place in range(5 + row)] for row in range(len(prompts))
        ]
        ids = [prompt_token_ids(tokenizer, prompt) for prompt in prompts]
        return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}

    arguments = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 2 * UPDATES,
        "num_generations": GROUP,
        "max_completion_length": 40,
        "max_steps": 2 * UPDATES,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
    }
    trainer = tiny_trainer(
        WatchedTrainer,
        tmp_path,
        (model, tokenizer),
        arguments,
        reward_funcs=lambda completion_ids, **_: [float(sum(ids) % 7) for ids in completion_ids],
        train_dataset=prompt_rows(texts),
        rollout_func=roll_out,
    )
    trainer.seen = []
    trainer.train()
    assert len(trainer.seen) == 2 * UPDATES * 2
    by_step = {step: [row for row in trainer.seen if row[0] == step] for step in range(2 * UPDATES)}
    for step, rows in by_step.items():
        moved = max(float((now - old).abs().max()) for _, _, old, now in rows)
        if step % UPDATES:
            assert moved > 1e-3  # the weights have moved since these rollouts were sampled
        else:
            assert moved < 1e-5  # the policy that sampled is the one of now
    tokens = [sum(len(ids) for _, ids, _, _ in rows) for rows in by_step.values()]
    assert sum(tokens[:UPDATES]) == sum(5 + row for row in range(PROMPTS * GROUP))
    longest = [max(len(ids) for _, ids, _, _ in rows) for rows in by_step.values()]
    assert min(tokens[:UPDATES]) > 0.5 * max(tokens[:UPDATES]), longest  # no update gets all long ones


def _lines(folder: Path) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "step_time", "judge/seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


def _tables(folder: Path) -> dict[int, list[dict[str, Any]]]:
    found = {}
    for table in sorted((folder / "checkpoints" / "completions").glob("*.parquet")):
        rows = pyarrow.parquet.read_table(table).to_pylist()
        found[rows[0]["step"]] = [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in rows]
    return found


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_sets_are_sampled_for_two_updates_and_a_resumed_run_is_the_one_that_never_stopped(
    by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    """Eight prompts, four at once: the third set begins an epoch."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    perform(*stage("grpo", whole, {"sft": by_heart}, **CHANGED))
    tables = _tables(whole)
    assert {step: len(rows) for step, rows in tables.items()} == {1: 16, 3: 16, 5: 16}  # once for each set
    assert ["reward" in line for line in _lines(whole)] == [True, False] * 3
    figures = json.loads((whole / "stage.json").read_text())
    assert (figures["steps"], figures["rollouts"], figures["excluded_rollouts"]) == (6, 48, 0)
    prompts = [{row["problem_id"] for row in rows} for rows in tables.values()]
    assert [len(met) for met in prompts] == [4, 4, 4]

    for checkpoint in (2, 4):
        shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("model", "stage.json"))
        for path in killed.glob("checkpoints/checkpoint-*"):
            if path.name != f"checkpoint-{checkpoint}":
                shutil.rmtree(path)
        if (killed / "checkpoints" / f"checkpoint-{checkpoint}").exists():
            perform(*stage("grpo", killed, {"sft": by_heart}, **CHANGED))
            assert _same(weights(killed / "model"), weights(whole / "model"))
            assert _lines(killed) == _lines(whole)
            assert _tables(killed) == tables
        shutil.rmtree(killed)


@pytest.mark.slow
def test_two_processes_divide_a_set_and_go_on_to_the_last_bit(
    by_heart: Path, synthesis: Path, tmp_path: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    changed = {**CHANGED, "micro_batch": 2, "launch": {"processes": 2}}
    changed["training"] = {**CHANGED["training"], "save_total_limit": 9}
    inputs = {"synth": str(synthesis), "sft": str(by_heart)}
    values = {**recipe_values("grpo", **changed), "runs_dir": str(tmp_path / "runs"), "inputs": inputs}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**values, "judge": {"workers": 1}}))
    run_on_two_processes("xcoder_train.grpo", str(tmp_path / "recipe.yaml"))
    (folder,) = (tmp_path / "runs" / "tiny" / "grpo").iterdir()
    assert {step: len(rows) for step, rows in _tables(folder).items()} == {1: 16, 3: 16, 5: 16}
    shutil.copytree(folder, tmp_path / "whole")
    for left in ("model", "stage.json", "checkpoints/checkpoint-4", "checkpoints/checkpoint-6"):
        (shutil.rmtree if (folder / left).is_dir() else Path.unlink)(folder / left)
    run_on_two_processes("xcoder_train.grpo", str(tmp_path / "recipe.yaml"))
    assert _same(weights(folder / "model"), weights(tmp_path / "whole" / "model"))
    assert _lines(folder) == _lines(tmp_path / "whole")


def test_the_authors_script_can_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    for name in ("test4.jsonl", "test5.jsonl"):  # the files of the window, which are looked for and not read
        (tmp_path / name).touch()
    given = [f"runs_dir={tmp_path}", f"evaluation.livecodebench_folder={tmp_path}"]
    ablation = Ablation(Path("recipes/ablations/script-or-paper.yaml"), given)
    script, paper = (require(arm.recipe.grpo) for arm in ablation.arms)
    assert (script.prompts_per_set, script.prompts_per_step, script.steps_per_set) == (512, 128, 4)
    assert script.training.trl == {"entropy_coef": 0.001, "delta": 3.0}
    assert (script.training.learning_rate, script.training.weight_decay) == (4e-7, 0.01)
    assert (paper.prompts_per_set, paper.steps_per_set, paper.training.learning_rate) == (128, 1, 7e-5)
    assert (paper.training.weight_decay, paper.training.trl) == (0, {})
