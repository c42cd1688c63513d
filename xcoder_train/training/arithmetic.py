"""The arithmetic of a training step: its rows on each device, and its floating-point operations. No torch in here.

Model FLOPs utilisation (Chowdhery et al., 2022, appendix B): operations that the model's mathematics needs, over the
peak of the hardware. What is computed again for activation checkpointing does not count, and of attention only the
pairs that causality and packing leave: a document of n tokens has n² / 2 of them, whatever row it lies in.
"""

import math
from dataclasses import dataclass

from xcoder_core.errors import InputError
from xcoder_core.models.folder import ModelShape

# Dense bf16 peak of one device in TFLOP/s, from the vendor's data sheets (without sparsity), by the driver's name.
PEAK_TFLOPS = {
    "NVIDIA B200": 2250.0,
    "NVIDIA H200": 989.4,
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA H100": 989.4,
    "NVIDIA H20": 148.0,
    "NVIDIA A100": 312.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA L20": 119.5,
    "NVIDIA L4": 121.0,
    "NVIDIA GeForce RTX 4090": 165.2,
}


def training_flops_per_token(shape: ModelShape, mean_attended: float, adapter_parameters: int | None = None) -> float:
    """Operations of forward and backward for one token.

    Matrices cost 2 a parameter forward and 4 backward; below adapters, whose own are given, frozen matrices cost only
    2 backward. An embedding is looked up, not multiplied; a tied one multiplies once, as the output layer.
    `mean_attended` is the sum of squared document lengths over the sum of lengths; half of it is what a token attends
    to on average, at 4 operations a position and channel forward (scores and values) and 8 backward.
    """
    embedding = 0 if shape.tie_embeddings else shape.vocabulary * shape.hidden_size
    multiplied = shape.parameters - embedding
    frozen = adapter_parameters is not None
    matrices = (4.0 if frozen else 6.0) * multiplied + 6.0 * (adapter_parameters or 0)
    attention = 12.0 * shape.layers * shape.heads * shape.head_size * mean_attended / 2
    return matrices + attention


def peak_flops(device_name: str) -> float | None:
    """Operations per second of a device by the driver's name for it; None for one that is not in the table."""
    # The longest name first: an H100 PCIe is slower than other H100s, and an H200 is no H20.
    for name in sorted(PEAK_TFLOPS, key=len, reverse=True):
        if device_name == name or device_name.startswith((f"{name} ", f"{name}-")):
            return PEAK_TFLOPS[name] * 1e12
    return None


@dataclass(frozen=True)
class BatchPlan:
    """How one optimiser step is divided: `micro_batch` rows x `accumulation` passes x `processes`."""

    micro_batch: int
    accumulation: int
    processes: int
    examples_per_row: float

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimiser step over all processes."""
        return self.micro_batch * self.accumulation * self.processes

    @property
    def examples_per_step(self) -> float:
        """Examples of one optimiser step, on average when rows are packed."""
        return self.rows_per_step * self.examples_per_row


def plan_sft_batch(examples: int, examples_per_row: float, processes: int, micro_batch: int) -> BatchPlan:
    """Rows nearest to `examples` a step that divide evenly over processes and passes of `micro_batch` rows at most."""
    rows_per_process = max(1, round(examples / examples_per_row / processes))
    accumulation = math.ceil(rows_per_process / micro_batch)
    return BatchPlan(math.ceil(rows_per_process / accumulation), accumulation, processes, examples_per_row)


def plan_grpo_batch(prompts: int, rollouts: int, processes: int, micro_batch: int) -> BatchPlan:
    """Micro-batches of one step's completions. Raises `InputError` with the numbers where they do not divide."""
    completions, together = prompts * rollouts, micro_batch * processes
    if completions % together:
        raise InputError(
            f"prompts_per_step ({prompts}) x rollouts ({rollouts}) = {completions} completions per step must be "
            f"divisible by micro_batch ({micro_batch}) x launch.processes ({processes}) = {together}"
        )
    return BatchPlan(micro_batch, completions // together, processes, 1.0)
