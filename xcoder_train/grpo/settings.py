"""Settings of GRPO: the `grpo:` section of a recipe."""

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from reward.config import RewardSettings
from xcoder_core.errors import InputError
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings
from xcoder_train.training.settings import GrpoTraining, TrainedSettings


class CurriculumSettings(Settings):
    """Prompts are filtered and ordered by how often the model solves them before GRPO begins; docs/grpo.md says how."""

    pass_rates: Path | None = None
    """Parquet file with `problem_id` and `pass_rate` (0 to 1); measured by the stage `rates` when left out."""

    bands: tuple[str, ...] = ()
    """Names in the column `difficulty` of the dataset, easiest first: only their prompts are trained on, in this order.
    Nothing is measured then."""

    samples: int = Field(default=8, ge=1)
    """Completions per prompt from which a pass rate is measured."""

    generation: GenerationSettings = GenerationSettings()
    """What makes these completions; GRPO's own settings say how they are sampled."""

    launch: LaunchSettings = LaunchSettings()
    """Each process makes its share of them with a whole model of its own, on `generation.tensor_parallel` GPUs."""

    drop_unsolved: bool = True
    """Leave out prompts of which no sample is right: their groups teach nothing."""

    drop_solved: bool = True
    """Leave out prompts of which every sample is right."""

    mixing: float = Field(default=0.25, ge=0, le=1)
    """How far chance moves a prompt in the order from easy to hard: 0 not at all, 1 anywhere."""


class HeldOutSettings(Settings):
    """Evaluation on held-out tasks while GRPO trains; no step depends on it."""

    every_steps: int = Field(default=20, ge=1)
    """Optimiser steps between two evaluations; there is one before the first step and one after the last too."""

    tasks: int = Field(default=64, ge=1)
    """Held-out tasks, chosen once from the seed."""

    samples: int = Field(default=2, ge=1)
    """Completions per task."""


class DynamicSamplingSettings(Settings):
    """Groups whose rewards are all equal are replaced by groups of further prompts (DAPO, arXiv 2503.14476)."""

    rounds: int = Field(default=4, ge=1)
    """Most rounds in which a step samples; what is missing then is filled with groups of equal rewards."""

    oversample: float = Field(default=1.0, ge=1, le=2)
    """Prompts that a round asks for each missing group. Groups that the step does not need serve the next one."""


class OnlineRatesSettings(Settings):
    """Prompts are chosen by how often their rollouts are solved while GRPO trains."""

    target: float = Field(default=0.5, gt=0, lt=1)
    """Prompts with a running pass rate near this are asked."""

    within: float = Field(default=0.25, ge=0, lt=1)
    """How far from `target` a rate may be to count as near. These prompts take turns; the nearest others follow."""

    keep: float = Field(default=0.5, ge=0, lt=1)
    """What a running rate keeps of itself when its prompt is asked again; the rest is the new rollouts' share."""

    revisit: float = Field(default=0.25, ge=0, lt=1)
    """Share of the prompts that are asked because they were not asked for longest, whatever their rate."""


class AlarmSettings(Settings):
    """Bounds at which a warning is printed and stored in `alarms.jsonl`. The run continues after it."""

    sampling_difference: float = Field(default=0.1, gt=0)
    """Mean difference between a token's log-probability in vLLM and in the policy above which vLLM's weights may be
    stale; about 0.01 is usual."""

    masked_share: float = Field(default=0.05, ge=0, le=1)
    """Share of tokens that the importance correction masks."""

    entropy_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the entropy of the first logged steps; below it, entropy has collapsed."""

    syntax_errors: float = Field(default=0.1, ge=0, le=1)
    """Rise of the share of rollouts whose code does not parse, or that have none, since the first logged steps."""

    special_cased: float = Field(default=0.05, ge=0, le=1)
    """Share of rollouts whose code contains inputs and outputs of the tests that it passes."""

    idle_steps: int = Field(default=3, ge=1)
    """Logged steps in a row in which no group has rewards that differ."""


class GrpoSettings(TrainedSettings):
    """GRPO on judged rollouts; docs/grpo.md describes it. How long it trains is `training.max_steps` or
    `training.num_train_epochs`."""

    prompts_per_step: int = Field(default=128, ge=1)
    """Problems per optimiser step."""

    updates_per_rollouts: int = Field(default=1, ge=1)
    """Optimiser steps into which a set of rollouts is divided. Rollouts of this many times `prompts_per_step` problems
    are sampled at once, and the policy that sampled them is the old policy of all these steps."""

    rollouts: int = Field(default=8, ge=2)
    """Completions per problem; their rewards are compared with each other."""

    max_prompt_length: int = Field(default=2500, ge=1)
    """Problems whose prompt has more tokens are left out. Without a value, at most half of the model's context."""

    max_completion_length: int = Field(default=30196, ge=1)
    """A rollout is cut off at this many tokens. Without a value, at most what the context holds beside the prompt."""

    lengths: tuple[tuple[int, int], ...] = ()
    """Shorter limits for a part of the training. With `[[0, 16384], [90, 24576]]`, rollouts are cut off at 16,384
    tokens from step 0 on, and at 24,576 from step 90 on. Held-out tasks always have `max_completion_length`."""

    temperature: float = Field(default=1.0, gt=0)
    """Softmax temperature of rollouts."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of rollouts; 1 for all tokens."""

    top_k: int = Field(default=0, ge=0)
    """Only the k likeliest tokens; 0 for all."""

    micro_batch: int = Field(default=8, ge=1)
    """Completions per forward and backward on one device; when left out, the largest number up to 8 that divides a
    step."""

    reward: RewardSettings = RewardSettings()

    maximum_excluded_share: float = Field(default=0.05, ge=0, le=1)
    """Training stops if a larger share of the rollouts has no reward because the judge itself failed."""

    curriculum: CurriculumSettings | None = None
    """Filter and order the prompts by pass rate; when left out, all prompts in a random order."""

    dynamic_sampling: DynamicSamplingSettings | None = None
    """Replace groups that teach nothing; when left out, every step trains on the groups of its own prompts."""

    online_rates: OnlineRatesSettings | None = None
    """Prefer prompts that are solved about as often as stated; each has its turn in the usual order when left out."""

    rollouts_from: Path | None = None
    """Folder of a GRPO that ran with `keep_rollouts: true`. Train on its judged rollouts, in order; sample none."""

    keep_rollouts: bool = False
    """Keep the judged rollouts of every step, for `rollouts_from`; otherwise, those that an interrupted run needs."""

    evaluation: HeldOutSettings | None = None
    """Measure held-out tasks while training."""

    alarms: AlarmSettings = AlarmSettings()
    """Signs that a run is going wrong."""

    generation: Literal["transformers", "vllm_colocate", "vllm_server"] = "transformers"
    """What makes the rollouts: transformers, vLLM in the training processes, or a vLLM server."""

    rollout_batch: int = Field(default=64, ge=1)
    """Completions that one process decodes together with `generation: transformers`."""

    max_num_seqs: int | None = Field(default=None, ge=1)
    """Most completions that vLLM decodes together with `generation: vllm_colocate`; when left out, as many as its cache
    holds if each is half done."""

    vllm_batch: int | None = Field(default=None, ge=1)
    """Completions that each process hands to vLLM at once; all of a step when left out. They are judged and stored
    before the next ones are sampled: a kill loses fewer, and vLLM waits more often for the longest."""

    training: GrpoTraining = GrpoTraining()

    @model_validator(mode="after")
    def _lengths_follow_each_other(self) -> Self:
        steps = [step for step, _ in self.lengths]
        if steps and (steps[0] != 0 or steps != sorted(set(steps)) or min(tokens for _, tokens in self.lengths) < 1):
            raise ValueError(f"lengths: expected [step, tokens] pairs, steps rising from 0; found {self.lengths}")
        return self

    @property
    def prompts_per_set(self) -> int:
        """Problems that are sampled at once."""
        return self.prompts_per_step * self.updates_per_rollouts

    def refuse_too_few(self, prompts: int, which: str) -> None:
        """Raise InputError where a set cannot be filled: TRL would end at once, with the model unchanged."""
        if prompts < self.prompts_per_set:
            raise InputError(
                f"a {'step' if self.updates_per_rollouts == 1 else 'set'} of {self.prompts_per_set} prompts cannot be "
                f"filled from {prompts} {which}: lower grpo.prompts_per_step, or synthesise more tasks"
            )

    def prompts_of_round(self, missing: int, processes: int) -> int:
        """Prompts that are sampled for so many missing groups: all processes make as many rollouts, and no more groups
        are left over than a set needs."""
        dynamic = self.dynamic_sampling
        if missing <= 0 or dynamic is None or self.rollouts_from is not None:
            return max(0, missing)
        # Divides the set; the batches of a server hold whole groups.
        unit = processes // (math.gcd(processes, self.rollouts) if self.vllm_batch is None else 1)
        wanted = math.ceil(missing * dynamic.oversample / unit) * unit
        return min(wanted, self.prompts_per_set + missing // unit * unit)

    @property
    def steps_per_set(self) -> int:
        """Optimiser steps between one set of rollouts and the next."""
        return self.updates_per_rollouts * self.training.num_iterations

    @property
    def measuring(self) -> CurriculumSettings:
        """How pass rates are measured, also where no curriculum asks for them."""
        return self.curriculum or CurriculumSettings()

    def sampling(self, step: int | None = None) -> SamplingSettings:
        """How the rollouts of an optimiser step are sampled, and for None all other completions."""
        return SamplingSettings(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.training.repetition_penalty,
            max_new_tokens=self.length_limit(step),
        )

    def length_limit(self, step: int | None) -> int:
        """Tokens at which a rollout of this optimiser step is cut off, and for None any other completion."""
        begun = [tokens for start, tokens in self.lengths if step is not None and start <= step]
        return begun[-1] if begun else self.max_completion_length
