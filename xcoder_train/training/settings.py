"""Settings that SFT and GRPO share: adapters, optimiser, tracking, and TRL's arguments by TRL's own names."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings


def _whole_or_share(steps: float) -> float:
    if steps > 1 and steps != int(steps):
        raise ValueError("expected a whole number of steps, or below 1 a share of all steps")
    return steps


def _some_steps(steps: int) -> int:
    if steps == 0:
        raise ValueError("expected a number of steps above 0, or -1 to train for num_train_epochs")
    return steps


# Written as it was given, so that a key is the same for 2 and 2.0.
Number = Annotated[float, PlainSerializer(lambda value: int(value) if value == int(value) else value)]
Steps = Annotated[Number, AfterValidator(_whole_or_share)]


class TrainingSettings(Settings):
    """What SFT and GRPO hand to TRL's trainer alike."""

    learning_rate: Number = Field(default=2e-5, gt=0)
    """The highest rate; of Muon's matrices with `optimizer.name: muon`, which needs it written."""

    max_steps: Annotated[int, AfterValidator(_some_steps)] = Field(default=-1, ge=-1)
    """Optimiser steps to train for; -1 trains for `num_train_epochs`."""

    num_train_epochs: Number | None = Field(default=None, gt=0)
    """Passes over the data; 3 if no setting says how long to train."""

    optim: Literal["adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"] = (
        "adamw_torch_fused"
    )
    """The optimiser with `optimizer.name: adamw`; `trl` can name any other of transformers'."""

    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
    ] = "linear"
    """How the learning rate changes over the steps."""

    lr_scheduler_kwargs: dict[str, Any] | None = None
    """Arguments that some schedules need, such as `{min_lr_rate: 0.1}`."""

    warmup_steps: Steps = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0; below 1 a share of all steps."""

    weight_decay: Number = Field(default=0.0, ge=0)
    """Decoupled weight decay, of all weights but biases and norms."""

    adam_beta1: Number = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients."""

    adam_beta2: Number = Field(default=0.999, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""

    max_grad_norm: Number = Field(default=1.0, ge=0)
    """Gradients with a larger norm are scaled down to this one; 0 leaves them as they are."""

    bf16: bool | None = None
    """Compute in bfloat16; on a GPU only, when left out."""

    activation_checkpointing: bool | None = None
    """Compute activations again in the backward pass, which saves memory; on a GPU only, when left out."""

    logging_steps: Steps = Field(default=10, gt=0)
    """Steps between two lines of metrics; below 1 a share of all steps."""

    save_strategy: Literal["steps", "epoch", "no"] = "steps"
    """When checkpoints are written, from which an interrupted stage continues."""

    save_steps: Steps = Field(default=500, gt=0)
    """Steps between two checkpoints; below 1 a share of all steps."""

    save_minutes: Number | None = Field(default=None, gt=0)
    """Minutes after which a checkpoint is written, besides those of `save_steps`, at the end of the step under way."""

    save_total_limit: int | None = Field(default=2, ge=1)
    """Newest checkpoints that are kept; null keeps all."""

    ddp_timeout: int = Field(default=1800, gt=0)
    """Seconds that processes wait for each other before one is taken for dead."""

    trl: dict[str, Any] = {}
    """Any other argument of the trainer's configuration, such as `{neftune_noise_alpha: 5}`. The installed TRL
    checks them before the run begins."""

    @property
    def epochs(self) -> float:
        """Passes over the data where `max_steps` says nothing."""
        return self.num_train_epochs or 3

    def for_trl(self) -> dict[str, object]:
        """The arguments by TRL's names, less those that are left to TRL."""
        ours = {"trl", "save_minutes", "vllm_geometric_bounds", *Settings.model_fields}
        return {name: value for name, value in self if value is not None and name not in ours} | self.trl


class SftTraining(TrainingSettings):
    """Arguments of trl.SFTConfig, by its own names; docs/training.md says where defaults differ from TRL's."""

    train_sampling_strategy: Literal["random", "sequential", "group_by_length", "batch_rebalance"] = "random"
    """The order of rows; `group_by_length` puts rows of similar length into a batch, which saves padding."""

    loss_type: Literal["nll", "dft"] = "nll"
    """`nll` is cross-entropy, `dft` dynamic fine-tuning (Wu et al., 2025), which weights a token by its probability."""


class GrpoTraining(TrainingSettings):
    """Arguments of trl.GRPOConfig, by its own names; docs/grpo.md says where defaults differ from TRL's."""

    learning_rate: Number = Field(default=4e-7, gt=0)
    """The highest rate; of Muon's matrices with `optimizer.name: muon`, which needs it written."""

    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """How the losses of the tokens are averaged."""

    importance_sampling_level: Literal["token", "sequence"] = "token"
    """What gets one ratio of probabilities: each token or each rollout. `sequence` with `loss_type: grpo` is GSPO."""

    scale_rewards: Literal["group", "batch", "none"] = "group"
    """Advantages are divided by the standard deviation of their group's or batch's rewards, or by none."""

    beta: Number = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the start model; above 0 that model is held in memory too."""

    epsilon: Number = Field(default=0.2, gt=0)
    """Ratios are clipped at 1 minus this."""

    epsilon_high: Number = Field(default=0.28, gt=0)
    """Ratios are clipped at 1 plus this; `loss_type: cispo` clips at this value itself, which must be above 1."""

    num_iterations: int = Field(default=1, ge=1)
    """How often a set of rollouts is trained on; times `updates_per_rollouts` it must divide `save_steps`."""

    mask_truncated_completions: bool = False
    """Leave the tokens of rollouts that were cut off out of the loss."""

    repetition_penalty: Number = Field(default=1.0, gt=0)
    """Penalty while sampling rollouts: above 1, tokens that occurred before become less likely."""

    vllm_importance_sampling_mode: Literal[
        "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
    ] = "token_truncate"
    """How differences between vLLM's probabilities and the policy's are corrected; docs/grpo.md has each equation.
    `geometric_mask` is ours, not TRL's."""

    vllm_geometric_bounds: tuple[Annotated[Number, Field(gt=0, lt=1)], Annotated[Number, Field(gt=1)]] = (0.99, 1.01)
    """With `geometric_mask`, a rollout is left out where the geometric mean of its tokens' ratios lies outside."""

    vllm_gpu_memory_utilization: Number | None = Field(default=None, gt=0, le=1)
    """Share of a GPU's memory for vLLM with `generation: vllm_colocate`; when left out, what the trainer leaves of the
    device, and no more than a step's rollouts need."""

    vllm_enable_sleep_mode: bool = False
    """With `generation: vllm_colocate`, vLLM gives its memory back while the policy is trained. When left out, it does
    so on a GPU if it can then hold more rollouts."""

    vllm_tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that vLLM splits the model over with `generation: vllm_colocate`; must divide `launch.processes`."""

    vllm_max_model_length: int | None = Field(default=None, ge=1)
    """Context of vLLM with `generation: vllm_colocate`; when left out, what prompt and completion need."""

    vllm_server_base_url: str | None = None
    """Address of the server with `generation: vllm_server`; http://0.0.0.0:8000 when left out."""

    vllm_server_timeout: Number = Field(default=240.0, gt=0)
    """Seconds that the server may take to start."""

    @property
    def geometric_bounds(self) -> tuple[float, float] | None:
        """Those of the mask that TRL lacks, where it is chosen."""
        return self.vllm_geometric_bounds if self.vllm_importance_sampling_mode == "geometric_mask" else None

    def for_trl(self) -> dict[str, object]:
        """As for SFT. What the geometric mask keeps is weighed by TRL, token by token."""
        weights = {} if self.geometric_bounds is None else {"vllm_importance_sampling_mode": "token_truncate"}
        return super().for_trl() | weights


class TrackingSettings(Settings):
    """Where metrics go besides `metrics.jsonl`, which is always written."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: off, into files in the run's folder, or to its server."""

    project: str = "xcoder-train"
    """W&B project."""

    tags: tuple[str, ...] = ()
    """W&B tags."""

    group: str | None = None
    """W&B group; the run's name when left out."""


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

    def parameters(self, shape: ModelShape) -> int:
        """Trainable numbers of the adapters: rank x (inputs + outputs) of every targeted layer."""
        queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
        sizes = {
            "q_proj": shape.hidden_size + queries,
            "k_proj": shape.hidden_size + keys,
            "v_proj": shape.hidden_size + keys,
            "o_proj": queries + shape.hidden_size,
            "gate_proj": shape.hidden_size + shape.intermediate_size,
            "up_proj": shape.hidden_size + shape.intermediate_size,
            "down_proj": shape.intermediate_size + shape.hidden_size,
        }
        return shape.layers * self.rank * sum(sizes.get(target, 0) for target in self.targets)


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


class TrainedSettings(Settings):
    """What the section of every training stage holds."""

    launch: LaunchSettings = LaunchSettings()
    optimizer: OptimizerSettings = OptimizerSettings()

    lora: LoraSettings | None = None
    """Adapters instead of full fine-tuning."""

    resume: bool = True
    """Continue an interrupted stage from its newest complete checkpoint."""

    training: TrainingSettings = TrainingSettings()
