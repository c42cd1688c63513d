"""The plan of vLLM's memory beside the trainer, with `grpo.generation: vllm_colocate`."""

from dataclasses import asdict

from xcoder_core.models.folder import ModelShape
from xcoder_train.grpo.memory import GIB, WORKING, fitting_engine, rollouts_at_once
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.part import Part, row, shown_bytes


def colocated_part(settings: GrpoSettings, shape: ModelShape | None) -> Part:
    """What vLLM takes while rollouts are sampled and while the policy is trained. Raises InputError if it cannot fit.

    Nothing where vLLM does not share a device with the trainer, or the model's shape is not known.
    """
    if settings.generation != "vllm_colocate" or shape is None:
        return Part({"vllm": None}, [])
    gib = settings.launch.hardware.memory_gib
    if gib is None:
        said = "chosen from the device when it starts; grpo.launch.hardware.memory_gib=79 shows it here for 80 GB"
        return Part({"vllm": None}, row("vLLM", said))
    memory = fitting_engine(shape, settings, int(gib * GIB))
    at_once = rollouts_at_once(settings, memory.cache_tokens, memory.asked)
    names = ("cache", "cache_tokens", "at_full_length", "sampling", "training")
    figures = {**asdict(memory), **{name: getattr(memory, name) for name in names}, "at_once": at_once}
    preempted = "all of them fit at full length, so none is preempted"
    if at_once > memory.at_full_length:
        preempted = (
            f"none is preempted while those in progress have {memory.cache_tokens // at_once:,} tokens on average, "
            f"prompt included; at full length {memory.at_full_length:,} fit, and the other "
            f"{at_once - memory.at_full_length:,} would be computed again"
        )
    lines = row(
        "vLLM",
        f"{memory.share:.2f} of a device of {shown_bytes(memory.device)}: weights {shown_bytes(memory.weights)}, "
        f"working memory {shown_bytes(WORKING)}, cache {shown_bytes(memory.cache)} = {memory.cache_tokens:,} tokens",
    )
    lines += row("", f"{at_once:,} of {memory.asked:,} rollouts at a time; {preempted}")
    for phase, trainer, taken, state in (
        ("sampling", memory.trainer_sampling, memory.sampling, "awake"),
        ("training", memory.trainer_training, memory.training, "asleep" if memory.sleeps else "awake"),
    ):
        said = f"{shown_bytes(taken)} of {shown_bytes(memory.usable)}: trainer {shown_bytes(trainer)}"
        lines += row(f"  {phase}", f"{said}, vLLM {state} {shown_bytes(taken - trainer)}")
    return Part({"vllm": figures}, lines)
