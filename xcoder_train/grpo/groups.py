"""The groups of each set: taken from what the run has kept, left over by the set before, or sampled and judged.

A group is a prompt with its judged rollouts. Each batch of rollouts is judged and written down as soon as it is sampled
(`rollout_files.py`), so a run that was killed goes on inside its step. A set of groups serves one optimiser step, or as
many as the recipe says. With dynamic sampling (DAPO, Yu et al. 2025,
arXiv 2503.14476, section 3.2) groups in which all rewards are equal, whose advantages are all zero, give way to groups
of further prompts. Advantages and losses are TRL's, over the groups that are collected here.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from trl import GRPOConfig, GRPOTrainer

from reward.trl import JudgedReward
from xcoder_core.errors import InputError
from xcoder_core.files import JsonObject
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.prompt import Message
from xcoder_core.models.transformers_backend import Sampled
from xcoder_core.seeds import derive_seed
from xcoder_core.settings import require
from xcoder_core.share import Share
from xcoder_train.grpo.online_rates import OnlineRates
from xcoder_train.grpo.prompts import PromptOrder
from xcoder_train.grpo.rollout_files import (
    Group,
    Place,
    Rollout,
    RolloutFiles,
    has_signal,
    stored_rollouts,
    whole_groups,
)
from xcoder_train.grpo.rollouts import Sampler, batches
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.step_times import StepTimes

Row = JsonObject
"""A rollout as TRL takes it: the columns of its prompt, and `worth` for the reward."""


class Groups(TrainerCallback, ExportableState):
    """Collects the groups of a run's sets. As a callback it goes into checkpoints, and drops what none needs any more.

    `cursor` counts the prompts that were asked so far; `surplus` are groups that the set before did not need.
    """

    times: StepTimes
    """Of the trainer, which sets them."""

    def __init__(
        self,
        settings: GrpoSettings,
        prompts: Dataset,
        order: PromptOrder,
        sampler: Sampler,
        reward: JudgedReward,
        folder: Path,
    ) -> None:
        self.settings, self.prompts, self.order = settings, prompts, order
        self.sampler, self.reward = sampler, reward
        self.files = RolloutFiles(folder)
        self.cursor = 0
        self.surplus: list[Group] = []
        self.collected: list[Rollout] = []
        self._stored: Iterator[Group] | None = None
        self._names: list[str] = list(prompts["problem_id"])
        self._row_of = {name: row for row, name in enumerate(self._names)}
        online = settings.online_rates
        self.rates = None if online is None else OnlineRates(online, order, self._names)

    def state(self) -> JsonObject:
        """What a checkpoint keeps; the surplus itself stands in the files of its step."""
        rates = {} if self.rates is None else {"rates": self.rates.state()}
        return {"args": {}, "attributes": {"cursor": self.cursor, "surplus": _places(self.surplus), **rates}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Go on from a checkpoint; one of an earlier version has nothing, and needs nothing."""
        states: JsonObject = state.stateful_callbacks  # type: ignore[assignment]  # a mapping once training begins
        kept = states.setdefault(type(self).__name__, self.state())["attributes"]
        self.cursor = kept["cursor"]
        if self.rates is not None:
            self.rates.rates, self.rates.asked = (dict(kept["rates"][name]) for name in ("rates", "asked"))
        steps = {step: self.files.of_step(step) for step in {step for step, _ in kept["surplus"]}}
        wanted = (rollout for step, slot in kept["surplus"] for rollout in steps[step].values() if rollout.slot == slot)
        self.surplus = whole_groups(wanted, self.settings.rollouts)
        if _places(self.surplus) != kept["surplus"]:
            raise InputError(
                f"the checkpoint needs rollouts that are missing from {self.files.folder}: restore them, or delete "
                "the checkpoints beside that folder to start again"
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Drop the rollouts of steps that every checkpoint which is kept has behind it."""
        if state.is_world_process_zero:
            folder = Path(require(args.output_dir))
            steps = [int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*")]
            self.files.drop_before(min(steps, default=0), keep=self.settings.keep_rollouts)

    def collect(self, trainer: GRPOTrainer) -> list[Row]:
        """This process's rollouts of the next set, in the order of prompts; `roll_out` hands them to TRL."""
        args, share = cast(GRPOConfig, trainer.args), _share(trainer)
        per_set = int(args.generation_batch_size or 0) // self.settings.rollouts
        if self._is_fixed:
            uses = trainer.num_iterations * int(args.steps_per_generation or 1)
            first = trainer.state.global_step * args.gradient_accumulation_steps // uses * per_set
            self.cursor = first + per_set
            self.collected = self._sampled(trainer, 0, self._problems(range(first, self.cursor), per_set))
        else:
            together = [rollout for group in self._full_set(trainer, per_set) for rollout in group]
            each = len(together) // share.of
            self.collected = together[share.index * each : (share.index + 1) * each]
        return [{**self._row(rollout.problem_id), "worth": rollout.worth} for rollout in self.collected]

    def roll_out(self, prompts: list[list[Message]], trainer: GRPOTrainer) -> dict[str, object]:
        """What TRL takes as `rollout_func`: the rollouts that were collected, or in an evaluation new ones.

        The seed of an evaluation's rollout is derived from its prompt and its place: every evaluation draws alike, so
        their difference is the policy's.
        """
        tokenizer, is_training = _tokenizer(trainer), require(trainer.model).training
        prompt_ids = [prompt_token_ids(tokenizer, prompt) for prompt in prompts]
        made: Sequence[Rollout | Sampled] = self.collected
        if not is_training:
            seed, place = self.order.seed, trainer.accelerator.process_index
            seeds = [derive_seed(seed, "held out", str(ids), place, row) for row, ids in enumerate(prompt_ids)]
            sampled: dict[int, Sampled] = {}
            for rows in batches(prompt_ids, self.settings, is_training=False):
                ones = self.sampler(trainer, [prompt_ids[row] for row in rows], [seeds[row] for row in rows])
                sampled.update(zip(rows, ones, strict=True))
            made = [sampled[row] for row in range(len(prompts))]
        needs_known = trainer.use_vllm or (is_training and any(self.is_older(trainer)))
        known = [list(one.log_probabilities) for one in made] if needs_known else None
        return {"prompt_ids": prompt_ids, "completion_ids": [list(one.token_ids) for one in made], "logprobs": known}

    def is_older(self, trainer: GRPOTrainer) -> list[bool]:
        """Of each collected rollout, whether another policy than that of now has sampled it."""
        is_read, step = self.settings.rollouts_from is not None, trainer.state.global_step
        return [is_read or rollout.step < step for rollout in self.collected]

    @property
    def _is_fixed(self) -> bool:
        """Whether every set samples the prompts that stand in its place, and is trained on all of them."""
        return not (self.settings.dynamic_sampling or self.settings.online_rates or self.settings.rollouts_from)

    def _full_set(self, trainer: GRPOTrainer, per_set: int) -> list[Group]:
        """The groups of a set, the same in every process, in the order of prompts.

        Those left over come first, then those of further prompts. What is still missing when the rounds are over is
        filled with groups of equal rewards.
        """
        dynamic, metrics = self.settings.dynamic_sampling, trainer._metrics["train"]
        groups, equal, before, tokens = list(self.surplus), list[Group](), self.cursor, 0
        for turn in range(1 if dynamic is None else dynamic.rounds):
            asked = self.settings.prompts_of_round(per_set - len(groups), _share(trainer).of)
            if not asked:
                break
            new = self._groups(trainer, turn, asked, taken={one[0].problem_id for one in (*groups, *equal)})
            if self.rates is not None:
                self.rates.learn(new, lambda name, value: metrics[name].append(value))
            for group in new:
                (groups if dynamic is None or has_signal(group) else equal).append(group)
                tokens += sum(len(rollout.token_ids) for rollout in group)
            self.cursor += asked
        filled = equal[: max(0, per_set - len(groups))]
        chosen = sorted([*groups[:per_set], *filled], key=lambda group: group[0].slot)
        self.surplus = groups[per_set:]
        if dynamic is not None:
            old = sum(group[0].step < trainer.state.global_step for group in chosen)
            metrics["groups/sampled"].append(self.cursor - before)
            metrics["groups/sampled_tokens"].append(tokens)
            metrics["groups/equal_share_sampled"].append(len(equal) / max(1, self.cursor - before))
            metrics["groups/equal_share_trained"].append(len(filled) / per_set)
            metrics["groups/share_of_step_before"].append(old / per_set)
        return chosen

    def _groups(self, trainer: GRPOTrainer, turn: int, asked: int, taken: Collection[str]) -> list[Group]:
        """The next groups, whole in every process: sampled by all together, or read from `rollouts_from`."""
        slots = range(self.cursor, self.cursor + asked)
        if self.settings.rollouts_from is not None:
            return self._read(self.settings.rollouts_from, slots, trainer)
        own = self._sampled(trainer, turn, self._problems(slots, 1, taken))
        return whole_groups(gather_object(own), self.settings.rollouts)

    def _read(self, folder: Path, slots: range, trainer: GRPOTrainer) -> list[Group]:
        size = self.settings.rollouts
        if self._stored is None:
            self._stored = islice(stored_rollouts(folder).groups(size), slots.start, None)
        groups = list(islice(self._stored, len(slots)))
        if len(groups) < len(slots):
            raise InputError(
                f"grpo.rollouts_from: {folder} holds only {slots.start + len(groups)} groups of {size} rollouts, and "
                f"step {trainer.state.global_step + 1} needs more: lower training.max_steps, or name another folder"
            )
        known = len(_tokenizer(trainer))
        for group in groups:
            self._row(group[0].problem_id)
            if any(token >= known for rollout in group for token in rollout.token_ids):
                raise InputError(f"grpo.rollouts_from: {folder} holds tokens of another tokenizer than this model's")
        return [[replace(one, slot=slot) for one in group] for slot, group in zip(slots, groups, strict=True)]

    def _problems(self, slots: range, unit: int, taken: Collection[str] = ()) -> dict[int, str]:
        if self.rates is not None:
            return dict(zip(slots, self.rates.choose(slots, taken), strict=True))
        return {slot: self._names[row] for slot, row in zip(slots, self.order.prompts_of(slots, unit), strict=True)}

    def _row(self, problem_id: str) -> Row:
        if problem_id not in self._row_of:
            raise InputError(f"grpo.rollouts_from: problem {problem_id} is not among the prompts of this recipe")
        return self.prompts[self._row_of[problem_id]]

    def _sampled(self, trainer: GRPOTrainer, turn: int, problems: dict[int, str]) -> list[Rollout]:
        """This process's rollouts of these problems, by slot. What is kept of them is neither sampled nor judged again.

        A rollout's seed is derived from the step, the round and its place among those of all processes, so rollouts of
        a group and of different processes differ, a resumed run draws what an uninterrupted one would have drawn, and
        several processes draw what one would have drawn. A batch of which some rollouts are kept is sampled as a whole:
        in a smaller one the last bits would differ.
        """
        step, share, group = trainer.state.global_step, _share(trainer), self.settings.rollouts
        places = [(slot, number) for slot in problems for number in range(group)]
        each = len(places) // share.of
        first = share.index * each
        places = places[first : first + each]
        read = {
            slot: prompt_token_ids(_tokenizer(trainer), self._row(problems[slot])["prompt"])
            for slot in {slot for slot, _ in places}
        }
        prompts = [read[slot] for slot, _ in places]
        seeds = [derive_seed(self.order.seed, "rollout", step, turn, first + row) for row in range(each)]
        kept = self.files.of_step(step, problems)
        for batch in batches(prompts, self.settings, is_training=True):
            lacks = any(places[row] not in kept for row in batch)
            if self.settings.generation != "transformers":
                with self.times.during("waiting"):
                    lacks = any(gather_object([lacks]))  # vLLM may need all processes, so they go on together
            if not lacks:
                continue
            with self.times.during("sampling"):
                made = self.sampler(trainer, [prompts[row] for row in batch], [seeds[row] for row in batch])
            self.times.tokens["sampling"] += sum(len(one.token_ids) for one in made)
            new = {places[row]: one for row, one in zip(batch, made, strict=True) if places[row] not in kept}
            kept.update(self._judged(trainer, problems, new) if new else {})
        with self.times.during("waiting"):
            trainer.accelerator.wait_for_everyone()
        return [kept[place] for place in places]

    def _judged(
        self, trainer: GRPOTrainer, problems: dict[int, str], sampled: dict[Place, Sampled]
    ) -> dict[Place, Rollout]:
        """Completions with what they are worth, by slot and number, once they are kept in the run's files."""
        names, step = [problems[slot] for slot, _ in sampled], trainer.state.global_step
        judging = self.reward.worth_of(names, [one.token_ids for one in sampled.values()], step)
        with self.times.during("judging"):
            worth = asyncio.run_coroutine_threadsafe(judging, trainer.async_loop).result()
        self.times.tokens["judging"] += sum(len(one.token_ids) for one in sampled.values())
        rollouts = [
            Rollout(step, *place, name, tuple(one.token_ids), tuple(one.log_probabilities), own)
            for (place, one), name, own in zip(sampled.items(), names, worth, strict=True)
        ]
        self.files.append(rollouts, _share(trainer))
        return dict(zip(sampled, rollouts, strict=True))


def _tokenizer(trainer: GRPOTrainer) -> PreTrainedTokenizerBase:
    return cast(PreTrainedTokenizerBase, trainer.processing_class)


def _share(trainer: GRPOTrainer) -> Share:
    return Share(trainer.accelerator.process_index, trainer.accelerator.num_processes)


def _places(groups: list[Group]) -> list[list[int]]:
    return [[group[0].step, group[0].slot] for group in groups]
