"""Settings of what this floor does: the model, SFT, GRPO, how their processes are started, tracking, the report.

Paths in a recipe are relative to the folder that the command runs in; only `extends` is relative to its own file.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evaluation.config import EvaluationSettings
from reward.config import RewardSettings
from synth.config import Style
from xcoder_train.core.prompt import PromptStyle
from xcoder_train.core.settings import GivenPath, Settings


class TrackingSettings(Settings):
    """Where metrics go besides `metrics.jsonl`, which is always written."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: off, into files below the run folder, or to its server."""

    project: str = "xcoder-train"
    """W&B project."""

    tags: tuple[str, ...] = ()
    """W&B tags."""

    group: str | None = None
    """W&B group; the run's name when left out."""


class InitSettings(Settings):
    """A model made from random weights, with its own tokenizer trained on the run's data."""

    architecture: Literal["qwen2", "qwen3"] = "qwen2"
    """Which transformers architecture is built."""

    hidden_size: int = Field(default=96, ge=8)
    """Width of the residual stream."""

    intermediate_size: int = Field(default=256, ge=8)
    """Width of the feed-forward layers."""

    layers: int = Field(default=4, ge=1)
    """Transformer blocks."""

    heads: int = Field(default=4, ge=1)
    """Attention heads."""

    kv_heads: int = Field(default=4, ge=1)
    """Key and value heads; must divide `heads`."""

    context: int = Field(default=512, ge=16)
    """Longest sequence in tokens."""

    vocabulary: int = Field(default=960, ge=300)
    """Tokens of the tokenizer, special ones included."""

    tie_embeddings: bool = True
    """Use the input embedding as the output layer too."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) must be divisible by heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be divisible by kv_heads ({self.kv_heads})")
        return self


class ModelSettings(Settings):
    """The starting point of training, by `path` or by `init`, and how models are asked."""

    path: GivenPath | None = None
    """Local folder or hub name of a pretrained model."""

    init: InitSettings | None = None
    """Make the model from random weights instead."""

    prompt: PromptStyle = "plain"
    """How a problem becomes a prompt, in SFT, GRPO and evaluation alike: `plain` is the statement and nothing else, the
    others are LiveCodeBench's wording for a family of models."""

    save_dtype: Literal["float32", "bfloat16"] | None = None
    """What SFT and GRPO save `model/` in. When left out, what the start is stored in, but float32 where rounding would
    lose more than a tenth of the update."""

    chat_template: Path | None = None
    """File with a chat template (Jinja) in place of the tokenizer's own, which base models often lack. What is trained
    is saved with it."""

    trust_remote_code: bool = False
    """Run code that comes with the model."""

    @model_validator(mode="after")
    def _one_starting_point(self) -> Self:
        if self.path is not None and self.init is not None:
            raise ValueError(f"`path` ({self.path}) and `init` exclude each other; a model starts from one of them")
        return self


class InputSettings(Settings):
    """Finished stages of other runs. Such a stage has no section in this recipe.

    Each is a run's folder (its newest result of that stage is taken) or the folder of one result.
    """

    synth: Path | None = None
    """Synthesised data to train and evaluate on."""

    sft: Path | None = None
    """SFT result that GRPO and evaluation start from."""

    grpo: Path | None = None
    """GRPO result to evaluate."""


class HardwareSettings(Settings):
    """What one device does and costs: for MFU while training, and for the hours and price of `xcoder plan`."""

    peak_tflops: float | None = Field(default=None, gt=0)
    """Dense bf16 peak in TFLOP/s; while training, common NVIDIA GPUs are known by their names."""

    mfu: float | None = Field(default=None, gt=0, le=1)
    """Share of the peak that is expected of training, from a measurement or as an assumption."""

    tokens_per_second: float | None = Field(default=None, gt=0)
    """Measured or stated speed of one device: of SFT's tokens, in place of `mfu`, or of all of GRPO in new tokens."""

    price_per_hour: float | None = Field(default=None, gt=0)
    """Of one device, in whatever currency the reader pays in."""

    @model_validator(mode="after")
    def _mfu_has_a_peak(self) -> Self:
        if self.mfu is not None and self.peak_tflops is None:
            raise ValueError(f"mfu ({self.mfu}) is a share of peak_tflops, which is not set")
        return self


class LaunchSettings(Settings):
    """How a stage's processes are started. Nothing here changes what a finished stage is taken to be."""

    processes: int = Field(default=1, ge=1)
    """Processes that train together, one per GPU where there are GPUs."""

    nodes: int = Field(default=1, ge=1)
    """Machines that the processes are spread over evenly; `xcoder slurm` starts several."""

    accelerate: Path | None = None
    """Configuration file of `accelerate launch`, such as recipes/accelerate/fsdp2.yaml."""

    gpus: tuple[int, ...] | None = None
    """Indices of the GPUs that the stage sees (CUDA_VISIBLE_DEVICES); all when left out."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads per process (OMP_NUM_THREADS)."""

    environment: dict[str, str] = {}
    """Further environment variables."""

    hardware: HardwareSettings = HardwareSettings()
    """What one device does and costs."""

    @model_validator(mode="after")
    def _processes_spread_evenly(self) -> Self:
        if self.processes % self.nodes:
            raise ValueError(f"processes ({self.processes}) must be divisible by nodes ({self.nodes})")
        if self.nodes > 1 and self.accelerate is None:
            raise ValueError(f"nodes ({self.nodes}) need an accelerate configuration, such as fsdp2-multinode.yaml")
        return self


class EvaluationStageSettings(EvaluationSettings):
    """The `evaluation:` section: what is measured, and how the processes that sample are started."""

    launch: LaunchSettings = LaunchSettings()
    """Each process samples its share of the problems with a whole model of its own, on `generation.tensor_parallel`
    GPUs; the first one judges. The samples are the same for any number of processes."""


class LoraSettings(Settings):
    """Train low-rank adapters instead of all weights (Hu et al., 2021)."""

    rank: int = Field(default=64, ge=1)
    """Rank of the update matrices."""

    alpha: int = Field(default=128, gt=0)
    """The update is scaled by alpha / rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the update."""

    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )
    """Names of the linear layers that get an adapter."""


class OptimizerSettings(Settings):
    """Which optimiser; its learning rate, schedule, weight decay and betas are in `training`."""

    name: Literal["adamw", "muon"] = "adamw"
    """`muon` updates the hidden matrices by Muon (Jordan et al., 2024), everything else by AdamW."""

    learning_rate_rest: float | None = Field(default=None, gt=0)
    """Learning rate of what Muon leaves to AdamW; `training.learning_rate` when left out."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of Muon."""

    newton_schulz_steps: int = Field(default=5, ge=1)
    """Iterations by which Muon orthogonalises an update."""

    @model_validator(mode="after")
    def _rest_is_of_muon(self) -> Self:
        if self.learning_rate_rest is not None and self.name != "muon":
            raise ValueError(
                f"learning_rate_rest ({self.learning_rate_rest}) is the rate of what Muon leaves over; "
                f"with name: {self.name} set training.learning_rate"
            )
        return self


class SftDataSettings(Settings):
    """Which rows of the SFT dataset are trained on. A smaller choice is contained in a larger one of the same seed."""

    tasks: int | None = Field(default=None, ge=1)
    """Tasks to train on, drawn by seed; all when left out."""

    solutions_per_task: int | None = Field(default=None, ge=1)
    """Most solutions of one task; all when left out."""

    minimum_solutions: int | None = Field(default=None, ge=1)
    """Only tasks with at least this many accepted solutions, whether those or raw candidates are trained on."""

    styles: tuple[Style, ...] | None = None
    """Only tasks of these styles."""

    verified: bool = True
    """Only solutions that pass every test of their task; otherwise candidates are taken as they come."""


class HeldOutLossSettings(Settings):
    """The loss on held-out solutions while SFT trains; it shows a curve and decides nothing."""

    every_steps: int = Field(default=100, ge=1)
    """Optimiser steps between two evaluations; there is one before the first step and one after the last too."""

    tasks: int = Field(default=64, ge=1)
    """Held-out tasks, chosen once from the seed; each with its golden solution."""


class SftSettings(Settings):
    """Supervised fine-tuning on the solutions of a synthesis; docs/training.md describes it."""

    launch: LaunchSettings = LaunchSettings()

    data: SftDataSettings = SftDataSettings()

    batch: int = Field(default=128, ge=1)
    """Examples per optimiser step. With packing, rows per step follow from the measured packing factor."""

    micro_batch: int = Field(default=1, ge=1)
    """Most rows (packed sequences, or examples without packing) per forward and backward on one device."""

    max_length: int = Field(default=32768, ge=1)
    """Longest row in tokens; the model's context where that is shorter and this is left out. Examples that are longer
    are left out."""

    packing: bool = True
    """Put several examples into one row, isolated from each other."""

    tokens: int | None = Field(default=None, ge=1)
    """Train until this many tokens have been seen, prompts included; in place of a length in `training`."""

    truncation_limit: float = Field(default=0.01, ge=0, le=1)
    """Refuse to train when a larger share of the examples than this is longer than `max_length`."""

    optimizer: OptimizerSettings = OptimizerSettings()

    lora: LoraSettings | None = None
    """Adapters instead of full fine-tuning."""

    quantize: Literal["nf4"] | None = None
    """With `lora`: hold the frozen weights in 4 bits while training (QLoRA, Dettmers et al., 2023)."""

    evaluation: HeldOutLossSettings | None = None
    """Evaluate on held-out tasks while training, for a curve of the loss. It changes nothing of the training, so a
    finished stage stands."""

    resume: bool = True
    """Continue from the newest whole checkpoint of an interrupted stage."""

    training: dict[str, Any] = {}
    """Arguments of trl.SFTConfig, by their own names, such as `learning_rate: 5e-5`; those that another key decides are
    refused."""


class CurriculumSettings(Settings):
    """Prompts by how often the model solves them before GRPO begins."""

    pass_rates: Path | None = None
    """Parquet file with `problem_id` and `pass_rate` (0 to 1); measured by this stage when left out."""

    samples: int = Field(default=8, ge=1)
    """Completions per prompt from which a pass rate is measured; they are sampled by transformers."""

    drop_unsolved: bool = True
    """Leave out prompts of which no sample is right: their groups teach nothing."""

    drop_solved: bool = True
    """Leave out prompts of which every sample is right."""

    mixing: float = Field(default=0.25, ge=0, le=1)
    """How far chance moves a prompt in the order from easy to hard: 0 not at all, 1 anywhere."""


class HeldOutSettings(Settings):
    """Evaluation on held-out tasks while GRPO trains; it shows a curve and decides nothing."""

    every_steps: int = Field(default=20, ge=1)
    """Optimiser steps between two evaluations; there is one before the first step and one after the last too."""

    tasks: int = Field(default=64, ge=1)
    """Held-out tasks, chosen once from the seed."""

    samples: int = Field(default=2, ge=1)
    """Completions per task."""


class AlarmSettings(Settings):
    """When a warning is printed and kept in `alarms.jsonl`. A run goes on after it."""

    sampling_difference: float = Field(default=0.1, gt=0)
    """Mean difference between a token's log-probability in vLLM and in the policy above which vLLM's weights may be
    stale; about 0.01 is usual."""

    masked_share: float = Field(default=0.05, ge=0, le=1)
    """Share of tokens that the importance correction masks."""

    entropy_share: float = Field(default=0.1, ge=0, le=1)
    """Entropy has collapsed below this share of what it was in the first logged steps."""

    syntax_errors: float = Field(default=0.1, ge=0, le=1)
    """Rise of the share of rollouts whose code does not parse, or that have none, since the first logged steps."""

    special_cased: float = Field(default=0.05, ge=0, le=1)
    """Share of rollouts whose code names the inputs and outputs of the tests that it passes."""

    idle_steps: int = Field(default=3, ge=1)
    """Logged steps in a row in which no group has rewards that differ."""


class GrpoSettings(Settings):
    """GRPO on judged rollouts; docs/grpo.md describes it. How long it trains is `training.max_steps` or
    `training.num_train_epochs`."""

    launch: LaunchSettings = LaunchSettings()

    prompts_per_step: int = Field(default=128, ge=1)
    """Problems per optimiser step."""

    rollouts: int = Field(default=8, ge=2)
    """Completions per problem; their rewards are compared with each other."""

    max_prompt_length: int = Field(default=2500, ge=1)
    """Problems whose prompt has more tokens are left out. Half of the model's context where that is less and this is
    left out."""

    max_completion_length: int = Field(default=30196, ge=1)
    """A rollout is cut off at this many tokens; when left out, at no more than the context has beside the prompt."""

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
    """Share of rollouts without a reward (the judge's machinery failed) above which training stops."""

    curriculum: CurriculumSettings | None = None
    """Filter and order the prompts by pass rate; all of them in a random order when left out."""

    evaluation: HeldOutSettings | None = None
    """Measure held-out tasks while training."""

    alarms: AlarmSettings = AlarmSettings()
    """Signs that a run is going wrong."""

    generation: Literal["transformers", "vllm_colocate", "vllm_server"] = "transformers"
    """What makes the rollouts; vLLM inside the training processes, or as a server of its own."""

    rollout_batch: int = Field(default=64, ge=1)
    """Completions that one process decodes together with `generation: transformers`."""

    optimizer: OptimizerSettings = OptimizerSettings()

    lora: LoraSettings | None = None
    """Adapters instead of full fine-tuning."""

    resume: bool = True
    """Continue from the newest whole checkpoint of an interrupted stage."""

    training: dict[str, Any] = {}
    """Arguments of trl.GRPOConfig, by their own names, such as `max_steps: 200`; those that another key decides are
    refused."""


class ReportSettings(Settings):
    """What `report.html` shows."""

    samples: int = Field(default=12, ge=0)
    """Completions that the report shows in full."""
