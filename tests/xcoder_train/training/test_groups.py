"""Groups of a step: kept as they are judged, replaced where they teach nothing, trained on again by another run."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForCausalLM

from reward.trl import Worth
from xcoder_core.errors import InputError
from xcoder_core.records import RecordStore, read_records
from xcoder_train.grpo import train as grpo
from xcoder_train.grpo.rollout_files import Rollout, RolloutFiles, has_signal, stored_rollouts
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
ELSEWHERE = 1234.5
"""CPU seconds that no judge of these tests measures."""
BY_GROUP = {"rollout_batch": 4}
"""Each group is sampled and judged alone."""


def _tables(folder: Path) -> list[dict[str, Any]]:
    tables = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    return [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]


def _timeless(folder: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in _tables(folder)]


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _rollout(reward: float | None, **changed: Any) -> Rollout:
    worth = Worth(reward, "AC", 1, 0.1, None, False)
    plain: dict[str, Any] = {"step": 0, "slot": 0, "number": 0, "problem_id": "a"}
    return Rollout(**{**plain, "token_ids": (1,), "log_probabilities": (-0.1,), "worth": worth, **changed})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, by_heart: Path, synthesis: Path) -> Path:
    """An uninterrupted GRPO that kept its rollouts. Read it, never write to it."""
    from tests.xcoder_train.training.conftest import _recipe
    from xcoder_core.stage import StageContext
    from xcoder_train.recipe.schema import Recipe

    folder = tmp_path_factory.mktemp("kept")
    recipe = Recipe.model_validate(_recipe("grpo", **BY_GROUP, keep_rollouts=True))
    inputs = {"synth": synthesis, "sft": by_heart}
    perform(recipe, StageContext("tiny", "grpo", "stagekey", folder, recipe.seed, inputs))
    return folder


def test_every_rollout_of_every_step_is_kept_with_what_it_is_worth(kept: Path) -> None:
    stored = [rollout for group in stored_rollouts(kept).groups(4) for rollout in group]
    assert [(one.step, one.slot) for one in stored[::4]] == [(step, 2 * step + n) for step in range(4) for n in (0, 1)]
    logged = _tables(kept)
    assert len(stored) == len(logged) == 32
    for rollout, row in zip(stored, logged, strict=True):
        assert (rollout.problem_id, rollout.worth.verdict) == (row["problem_id"], row["verdict"])
        assert (rollout.worth.reward, rollout.worth.cpu_seconds) == (row["judged"], row["cpu_seconds"])
        assert len(rollout.log_probabilities) == len(rollout.token_ids) and max(rollout.log_probabilities) <= 0
    assert not (kept / "rollouts").joinpath("step-000000-0-of-1.journal").exists()


@pytest.mark.parametrize("batch", [4, 64], ids=["by-group", "all-together"])
def test_a_step_goes_on_with_the_rollouts_that_are_kept(
    batch: int, kept: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    """As a kill leaves it that comes in the second step, before any checkpoint: a group, a rollout, half a line."""
    recipe, context = stage("grpo", tmp_path / "killed", {"sft": by_heart}, rollout_batch=batch)
    if batch == 64:
        perform(*stage("grpo", tmp_path / "kept", {"sft": by_heart}, keep_rollouts=True))
    source = kept if batch == 4 else tmp_path / "kept"
    for step, lines in ((0, 8), (1, 5)):
        name = f"step-{step:06}-0-of-1.parquet"
        records = list(read_records(source / "rollouts" / name, Rollout))[:lines]
        store = RecordStore(context.folder / "rollouts" / name, Rollout, ("slot", "number"))
        store.extend(replace(one, worth=replace(one.worth, cpu_seconds=ELSEWHERE)) for one in records)
        store.close()
    with (context.folder / "rollouts" / "step-000001-0-of-1.journal").open("ab") as journal:
        journal.write(b'0badc0de {"step":1,"slot"')
    perform(recipe, context)
    assert [row["cpu_seconds"] == ELSEWHERE for row in _tables(context.folder)] == [True] * 13 + [False] * 19
    assert _timeless(context.folder) == _timeless(source)
    assert _same(weights(context.folder / "model"), weights(source / "model"))
    assert not (context.folder / "rollouts").exists()


def test_a_run_that_begins_anew_uses_nothing_that_is_kept(
    kept: Path, by_heart: Path, tmp_path: Path, stage: Stage
) -> None:
    recipe, context = stage("grpo", tmp_path, {"sft": by_heart}, resume=False, training={"max_steps": 1})
    records = read_records(kept / "rollouts" / "step-000000-0-of-1.parquet", Rollout)
    store = RecordStore(tmp_path / "rollouts" / "step-000000-0-of-1.parquet", Rollout, ("slot", "number"))
    store.extend(replace(one, worth=replace(one.worth, cpu_seconds=ELSEWHERE)) for one in records)
    store.close()
    perform(recipe, context)
    assert all(row["cpu_seconds"] < ELSEWHERE for row in _tables(tmp_path))


def test_a_checkpoint_of_an_earlier_version_goes_on(
    finished_grpo: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    shutil.copytree(finished_grpo, tmp_path / "old", ignore=shutil.ignore_patterns("model", "stage.json", "*-4"))
    file = tmp_path / "old" / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    state = json.loads(file.read_text())
    del state["stateful_callbacks"]["Groups"]
    file.write_text(json.dumps(state))
    perform(*stage("grpo", tmp_path / "old", {"sft": by_heart}))
    assert _same(weights(tmp_path / "old" / "model"), weights(finished_grpo / "model"))


def test_only_steps_that_a_checkpoint_may_need_stay_on_disk(tmp_path: Path) -> None:
    from xcoder_core.share import Share

    files = RolloutFiles(tmp_path)
    for step in range(6):
        files.append([_rollout(1.0, step=step)], Share(0, 1))
    files.drop_before(4, keep=False)
    assert [path.name[5:11] for path in sorted(tmp_path.iterdir())] == ["000003", "000004", "000005"]
    files.drop_before(6, keep=True)
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".parquet", ".parquet", ".journal"]
    files.finish(keep=True)
    assert [group[0].step for group in RolloutFiles(tmp_path).groups(1)] == [3, 4, 5]


def test_rewards_are_equal_exactly_and_one_that_does_not_count_is_no_reward() -> None:
    for rewards, signal in (
        ([1.0, 1.0, 1.0], False),
        ([0.1 + 0.2, 0.3, 0.3], True),
        ([1.0, None, None], False),
        ([1.0, None, 0.0], True),
        ([None, None, None], False),
    ):
        group = [_rollout(reward) for reward in rewards]
        assert has_signal(group) is signal, rewards
        assert not has_signal(
            [replace(one, worth=replace(one.worth, left_out=True)) for one in group[:-1]] + group[-1:]
        )


def test_a_run_on_stored_rollouts_is_the_run_that_stored_them(
    kept: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    """Its old policy is the one that sampled, whose log-probabilities differ from the trainer's in the last bits."""
    perform(*stage("grpo", tmp_path / "again", {"sft": by_heart}, rollouts_from=kept))
    assert _tables(tmp_path / "again") == _tables(kept)  # CPU seconds too: nothing was judged
    again, source = weights(tmp_path / "again" / "model"), weights(kept / "model")
    moved = weights(by_heart / "model")
    apart = max(float((tensor - source[name]).abs().max()) for name, tensor in again.items())
    way = max(float((tensor - source[name]).abs().max()) for name, tensor in moved.items())
    assert apart < 0.05 * way
    assert not (tmp_path / "again" / "rollouts").exists()


def test_stored_rollouts_for_other_prompts_are_refused(
    kept: Path, by_heart: Path, tmp_path: Path, stage: Stage
) -> None:
    shutil.copytree(kept / "rollouts", tmp_path / "other")
    table = tmp_path / "other" / "step-000000-0-of-1.parquet"
    records = [replace(one, problem_id="nowhere") for one in read_records(table, Rollout)]
    table.unlink()
    store = RecordStore(table, Rollout, ("slot", "number"))
    store.extend(records)
    store.seal()
    recipe, context = stage("grpo", tmp_path / "run", {"sft": by_heart}, rollouts_from=tmp_path / "other")
    with pytest.raises(InputError, match="problem nowhere is not among the prompts"):
        perform(recipe, context)


@pytest.mark.parametrize("updates", [1, 2])
def test_the_ratio_of_a_group_that_is_left_over_is_to_the_policy_that_sampled_it(
    updates: int, by_heart: Path, tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies: dict[int, dict[str, torch.Tensor]] = {}
    checked: dict[bool, list[float]] = defaultdict(list)
    model = AutoModelForCausalLM.from_pretrained(by_heart / "model").eval()

    class Watched(FrugalGrpoTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            step = self.state.global_step
            policies[step] = {name: value.clone() for name, value in self.model.state_dict().items()}
            output = super()._generate_and_score_completions(inputs)
            assert self.groups is not None
            if "old_per_token_logps" not in output:  # the loss takes the policy's own of now
                assert updates == 1 and {rollout.step for rollout in self.groups.collected} == {step}
                return output
            for row, rollout in enumerate(self.groups.collected):
                own, current = (self._likelihood(output, row, policies[one]) for one in (rollout.step, step))
                old = output["old_per_token_logps"][row][output["completion_mask"][row].bool()]
                assert (old - own).abs().max() < 1e-4
                checked[rollout.step < step].append(float((old - current).abs().max()))
            return output

        def _likelihood(self, output: dict[str, Any], row: int, policy: dict[str, torch.Tensor]) -> torch.Tensor:
            model.load_state_dict(policy)
            prompt, made = (
                output[f"{part}_ids"][row][output[f"{part}_mask"][row].bool()] for part in ("prompt", "completion")
            )
            with torch.no_grad():
                scores = model(torch.cat([prompt, made])[None]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            return scores.gather(-1, made[:, None])[:, 0]

    monkeypatch.setattr(grpo, "FrugalGrpoTrainer", Watched)
    changed = {
        "dynamic_sampling": {"rounds": 4, "oversample": 2.0},
        "updates_per_rollouts": updates,
        "training": {"learning_rate": 3e-3, "max_steps": 4 * updates},
    }
    perform(*stage("grpo", tmp_path, {"sft": by_heart}, **changed))
    assert max(checked[False]) < 1e-4
    assert max(checked[True]) > 1e-2
    figures = json.loads((tmp_path / "stage.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert figures["rollouts"] == 4 * sum(line.get("groups/sampled", 0) for line in lines) >= 4 * 8
