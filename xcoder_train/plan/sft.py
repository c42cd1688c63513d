"""The plan of SFT: its examples, steps, hours, memory and disk."""

from dataclasses import asdict, replace

from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import require
from xcoder_core.stage import SynthLayout
from xcoder_train.plan.synth import finished_rows, has_finished_synthesis, planned_tasks
from xcoder_train.plan.training import Hours, checkpoints, warning, weights_and_disk
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_folder
from xcoder_train.sft.settings import MOST_LOGITS, SftDataSettings, SftSettings
from xcoder_train.training.arithmetic import plan_sft_batch, training_flops_per_token
from xcoder_train.training.launch_settings import division
from xcoder_train.training.memory import MemoryEstimate, estimate

# Examples in one row in the paper's SFT data: 32,768 tokens over means of 659 for the task and 17,742 for the solution.
_PAPERS_EXAMPLES_PER_ROW = 1.8
# On a CPU, logits, log-probabilities and their gradients are held at once, or as many in the entropy.
_COPIES_OF_LOGITS = 3
_FLOAT32, _INT32 = 4, 4


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> dict[str, object]:
    """What SFT would train on, for how long, and what it takes."""
    settings = require(recipe.sft)
    examples, is_counted = _examples(recipe)
    steps = _steps(settings, examples)
    rows = _rows_per_step(settings)
    tokens = None if steps is None else steps * rows * settings.max_length
    hours = None if tokens is None else _hours(shape, settings, tokens)
    memory = None if shape is None else estimate_sft(shape, settings, on_gpu=on_gpu)
    copies = 3 if settings.packing else 2  # as they are read, packed, and saved
    ids = {} if examples is None else {"token ids": examples * settings.max_length * 2 * _INT32 * copies}
    return {
        "examples": examples,
        "examples_are": "counted" if is_counted else "at most",
        "examples_per_step": settings.batch,
        "rows_per_step": settings.batch if not settings.packing else None,
        "rows_per_step_at_the_papers_packing": rows if settings.packing else None,
        "papers_examples_per_row": _PAPERS_EXAMPLES_PER_ROW if settings.packing else None,
        "tokens_per_row": settings.max_length,
        "steps": steps,
        "trained_examples": None if steps is None else steps * settings.batch,
        "tokens": settings.tokens,
        "tokens_at_most": tokens,
        "hours": hours and asdict(hours),
        **weights_and_disk(settings, shape, memory, ids),
        **checkpoints(recipe, "sft", steps, hours),
        **warning(settings),
    }


def estimate_sft(shape: ModelShape, settings: SftSettings, *, on_gpu: bool) -> MemoryEstimate:
    """Memory of SFT, with the states sharded, offloaded and rows split as the accelerate configuration says."""
    tokens = settings.micro_batch * settings.max_length
    planned = estimate(shape, settings, tokens, 0, on_gpu=on_gpu, is_quantized=settings.quantize is not None)
    scored = 0 if on_gpu else min(tokens * shape.vocabulary, MOST_LOGITS)
    return replace(planned, logits=scored * _COPIES_OF_LOGITS * _FLOAT32)


def _steps(settings: SftSettings, examples: int | None) -> int | None:
    if settings.tokens is not None:
        return None  # they follow from the length of the examples, which only their tokens tell
    if settings.training.max_steps > 0:
        return settings.training.max_steps
    return None if examples is None else max(1, round(examples * settings.training.epochs / settings.batch))


def _rows_per_step(settings: SftSettings) -> int:
    """As the stage divides a batch, where examples are as long as the paper's."""
    if not settings.packing:
        return settings.batch
    processes = division(settings.launch).data_parallel(settings.launch)
    return plan_sft_batch(settings.batch, _PAPERS_EXAMPLES_PER_ROW, processes, settings.micro_batch).rows_per_step


def _examples(recipe: Recipe) -> tuple[int | None, bool]:
    """Examples of the view that SFT trains on: counted once synthesis is whole, else the most that settings allow."""
    view = require(recipe.sft).data
    if has_finished_synthesis(recipe):
        rows = finished_rows(recipe, "sft")
        if rows is None or (rows and view == SftDataSettings()):
            return rows, rows is not None
        from xcoder_train.sft.data import rows_of_view

        return len(rows_of_view(SynthLayout(stage_folder(recipe, "synth")), view, recipe.seed)), True
    tasks = planned_tasks(recipe, "sft")
    if tasks is None or recipe.synth is None:
        return None, False
    candidates = recipe.synth.candidates_per_task
    accepted = recipe.synth.solutions_per_task if view.verified else None
    per_task = min(candidates, accepted or candidates, view.solutions_per_task or candidates)
    return min(tasks, view.tasks or tasks) * per_task, False


def _hours(shape: ModelShape | None, settings: SftSettings, tokens: int) -> Hours | None:
    """Of training on `tokens`; None where the recipe states neither a speed nor a share of a peak.

    From a share of the peak, examples are taken to be as long as a row, which is the most that attention can cost.
    """
    hardware = settings.launch.hardware
    if hardware.tokens_per_second is not None:
        return Hours.of(settings.launch, tokens, hardware.tokens_per_second)
    if hardware.mfu is None or hardware.peak_tflops is None or shape is None:
        return None
    adapters = None if settings.lora is None else settings.lora.parameters(shape)
    cost = training_flops_per_token(shape, settings.max_length, adapters)
    rate = hardware.mfu * hardware.peak_tflops * 1e12 / cost
    return Hours.of(settings.launch, tokens, rate, f"{hardware.mfu:.0%} of {hardware.peak_tflops:,.0f} TFLOP/s")
