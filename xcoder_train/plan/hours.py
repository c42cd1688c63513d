"""How long training takes and what it costs, from a stated speed or a stated share of the hardware's peak. No torch."""

from typing import Any

from xcoder_core.models.shape import ModelShape
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.arithmetic import training_flops_per_token
from xcoder_train.training.launch_settings import LaunchSettings


def sft_hours(shape: ModelShape | None, settings: SftSettings, tokens: int) -> dict[str, Any] | None:
    """Hours and price of training on `tokens`; None where the recipe states neither a speed nor a share of a peak.

    From a share of the peak, examples are taken to be as long as a row, which is the most that attention can cost.
    """
    hardware = settings.launch.hardware
    if hardware.tokens_per_second is not None:
        return _hours(settings.launch, tokens, hardware.tokens_per_second, "as stated")
    if hardware.mfu is None or hardware.peak_tflops is None or shape is None:
        return None
    adapters = None if settings.lora is None else settings.lora.parameters(shape)
    cost = training_flops_per_token(shape, settings.max_length, adapters)
    rate = hardware.mfu * hardware.peak_tflops * 1e12 / cost
    return _hours(settings.launch, tokens, rate, f"{hardware.mfu:.0%} of {hardware.peak_tflops:,.0f} TFLOP/s")


def grpo_hours(settings: GrpoSettings, new_tokens: int) -> dict[str, Any] | None:
    """Hours and price of a whole GRPO run; its speed is that of new tokens, with judging and training, as stated.

    A share of a peak says nothing here, since generation is bound by memory.
    """
    rate = settings.launch.hardware.tokens_per_second
    return None if rate is None else _hours(settings.launch, new_tokens, rate, "as stated")


def _hours(launch: LaunchSettings, tokens: int, rate: float, said: str) -> dict[str, Any]:
    hours = tokens / rate / 3600
    price = launch.hardware.price_per_hour
    return {
        "tokens_per_second": rate,
        "speed_is": said,
        "devices": launch.processes,
        "device_hours": hours,
        "wall_hours": hours / launch.processes,
        "price": None if price is None else hours * price,
    }
