"""How long SFT takes and what it costs, from a stated speed or a stated share of the hardware's peak. No torch."""

from typing import Any

from xcoder_train.config import SftSettings
from xcoder_train.memory import adapter_parameters
from xcoder_train.model_flops import training_flops_per_token
from xcoder_train.model_shape import ModelShape


def sft_hours(shape: ModelShape | None, settings: SftSettings, tokens: int) -> dict[str, Any] | None:
    """Hours and price of training on `tokens`; None where the recipe states neither a speed nor a share of a peak.

    From a share of the peak, examples are taken to be as long as a row, which is the most that attention can cost.
    """
    hardware, devices = settings.launch.hardware, settings.launch.processes
    if hardware.tokens_per_second is not None:
        rate, said = hardware.tokens_per_second, "as stated"
    elif hardware.mfu is not None and hardware.peak_tflops is not None and shape is not None:
        adapters = None if settings.lora is None else adapter_parameters(shape, settings.lora)
        cost = training_flops_per_token(shape, settings.max_length, adapters)
        rate = hardware.mfu * hardware.peak_tflops * 1e12 / cost
        said = f"{hardware.mfu:.0%} of {hardware.peak_tflops:,.0f} TFLOP/s"
    else:
        return None
    hours = tokens / rate / 3600
    return {
        "tokens_per_second": rate,
        "speed_is": said,
        "devices": devices,
        "device_hours": hours,
        "wall_hours": hours / devices,
        "price": None if hardware.price_per_hour is None else hours * hardware.price_per_hour,
    }
