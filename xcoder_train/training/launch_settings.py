"""How a stage's processes are started, and how they divide a model among them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from xcoder_core.settings import Settings
from xcoder_core.yaml_source import read_yaml_file

SHARDING = ("FSDP", "DEEPSPEED")
"""Values of `distributed_type` under which no process holds the whole model."""


class HardwareSettings(Settings):
    """What one device does, holds and costs: for MFU and vLLM's memory while training, and for `xcoder plan`."""

    peak_tflops: float | None = Field(default=None, gt=0)
    """Dense bf16 peak in TFLOP/s. Training knows that of common NVIDIA GPUs by their names; `xcoder plan` does not."""

    mfu: float | None = Field(default=None, gt=0, le=1)
    """Share of the peak that is expected of training, from a measurement or as an assumption."""

    tokens_per_second: float | None = Field(default=None, gt=0)
    """Speed of one device, measured or assumed: SFT's tokens (in place of `mfu`), or new tokens over all of GRPO."""

    memory_gib: float | None = Field(default=None, gt=0)
    """Memory of one device that may be used. When left out, all of it; `xcoder plan` then does not know how much that
    is. torch shows 23.5 GiB of a GPU of 24 GB, 79 of 80 GB, and 139.5 of 141 GB."""

    price_per_hour: float | None = Field(default=None, gt=0)
    """Price of one device for an hour, in any currency."""

    @model_validator(mode="after")
    def _mfu_has_a_peak(self) -> Self:
        if self.mfu is not None and self.peak_tflops is None:
            raise ValueError(f"mfu ({self.mfu}) is a share of peak_tflops, which is not set")
        return self


class LaunchSettings(Settings):
    """How a stage's processes are started. Nothing here affects a result, so a finished stage stays finished."""

    processes: int = Field(default=1, ge=1)
    """Processes that train together, one per GPU where there are GPUs."""

    nodes: int = Field(default=1, ge=1)
    """Machines over which the processes are spread evenly; `xcoder slurm` starts several."""

    accelerate: Path | None = None
    """Configuration file of `accelerate launch`, such as recipes/accelerate/fsdp2.yaml."""

    gpus: tuple[int, ...] | None = None
    """Indices of the GPUs that the stage sees (CUDA_VISIBLE_DEVICES); all when left out."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads per process (OMP_NUM_THREADS)."""

    environment: dict[str, str] = {}
    """More environment variables for the processes."""

    hardware: HardwareSettings = HardwareSettings()
    """What one device does and costs."""

    @model_validator(mode="after")
    def _processes_spread_evenly(self) -> Self:
        if self.processes % self.nodes:
            raise ValueError(f"processes ({self.processes}) must be divisible by nodes ({self.nodes})")
        if self.nodes > 1 and self.accelerate is None:
            raise ValueError(f"nodes ({self.nodes}) need an accelerate configuration, such as fsdp2-multinode.yaml")
        return self


@dataclass(frozen=True)
class Division:
    """How the processes of a stage divide a model and its rows, as the accelerate configuration says.

    Parameters, gradients and optimiser states lie in `shards` parts; a row is split over `row_parts` processes. What is
    offloaded lies in the machine's memory.
    """

    shards: int = 1
    row_parts: int = 1
    offloads_optimizer: bool = False
    offloads_parameters: bool = False

    def data_parallel(self, launch: LaunchSettings) -> int:
        """Processes that each read rows of their own; those that share a row count as one."""
        return max(1, launch.processes // self.row_parts)


def division(launch: LaunchSettings) -> Division:
    """The division that `launch` asks for; a whole model in every process where it names no sharding configuration."""
    configured = {} if launch.accelerate is None else accelerate_settings(launch.accelerate)
    sections = (configured.get(name) for name in ("parallelism_config", "deepspeed_config"))
    split, zero = (section if isinstance(section, dict) else {} for section in sections)
    return Division(
        shards=launch.processes if configured.get("distributed_type") in SHARDING else 1,
        row_parts=split.get("parallelism_config_cp_size", 1),
        offloads_optimizer=zero.get("offload_optimizer_device") == "cpu",
        offloads_parameters=zero.get("offload_param_device") == "cpu",
    )


def distribution(launch: LaunchSettings) -> str | None:
    """accelerate's word for how the processes share a model (`distributed_type`); None without a configuration."""
    return None if launch.accelerate is None else accelerate_settings(launch.accelerate).get("distributed_type")


def accelerate_settings(path: Path) -> dict[str, Any]:
    """What a configuration of `accelerate launch` says; {} when it is no mapping. Raises InputError."""
    configured = read_yaml_file(path).plain()
    return configured if isinstance(configured, dict) else {}
