"""A plan as text of at most 80 columns."""

import textwrap
from collections.abc import Iterator
from typing import Any

from xcoder_core.models.shape import FAMILIES, KNOWN

_WIDTH = 80
_LABEL = 14


def show_plan(plan: dict[str, Any]) -> str:
    """The plan for a reader; long values wrap below their label."""
    return "\n".join(_lines(plan))


def _lines(plan: dict[str, Any]) -> Iterator[str]:
    yield from _row("run", f"{plan['run']} in {plan['folder']}, seed {plan['seed']}, W&B {plan['tracking']}")
    model = plan["model"]
    if model["start"] is not None:
        size = "size unknown here" if model["parameters"] is None else f"{_count(model['parameters'])} parameters"
        context = "" if model["context"] is None else f", context {model['context']:,}"
        yield from _row("model", f"{model['start']}: {size}{context}, {model['prompt']} prompt")
        if model["parameters"] is None:
            known = f"{', '.join(KNOWN)}, and folders of {', '.join(FAMILIES)} models"
            yield from _row("", f"so no memory, disk or hours below; known without a download are {known}")
        if model["trust_remote_code"]:
            yield from _row("", "code that comes with the model will run, with all rights of this user")
    for change in plan["changed_since_last_start"]:
        yield from _row("changed", change)
    describe = {"synth": _synth, "sft": _sft, "grpo": _grpo, "evaluation": _evaluation}
    for name, stage in plan["stages"].items():
        yield ""
        yield f"{name}  {stage['key']}  {'whole already, kept' if stage['whole'] else 'to do'}"
        if name in describe:
            yield from describe[name](stage)
        if "warning" in stage:
            yield from _row("warning", stage["warning"])
        if not stage["whole"]:
            yield from _row("command", stage["command"])


def _synth(stage: dict[str, Any]) -> Iterator[str]:
    if "imports" in stage:
        for split, item in stage["imports"].items():
            rows = "all rows" if item["rows_at_most"] is None else f"the first {item['rows_at_most']:,} rows"
            yield from _row("import", f"{split}: {rows} of {item['from']}")
        return
    tasks = ", ".join(f"{name} {count:,}" for name, count in stage["tasks"].items())
    yield from _row("tasks", f"{sum(stage['tasks'].values()):,} ({tasks})")
    if stage["questions"]:
        yield from _row("questions", f"{stage['questions']:,} to the teacher, and second tries where it errs")
    yield from _row("executions", f"at most {stage['executions']:,}, of {stage['programs']:,} programs")
    estimated = stage["estimate"]
    if estimated["stages"]:
        yield from _row("estimate", f"from {estimated['based_on']}; second tries counted")
        yield f"    {'':12}{'requests':>12}{'prompt':>12}{'completion':>12}{'cost':>14}"
        for name, used in {**estimated["stages"], "all": _sum(estimated["stages"])}.items():
            tokens = f"{_count(used['prompt_tokens']):>12}{_count(used['completion_tokens']):>12}"
            yield f"    {name:12}{used['requests']:>12,}{tokens}{used['cost']:>14,.2f}"
        if stage["features_are_asked_for"]:
            yield from _row("", "not counted: what extraction and evolution of features ask")
    runs = f"about {estimated['executions']:,} runs"
    if estimated["helper_runs"]:
        runs += f", and {estimated['helper_runs']:,} of generators, validators and brute force"
    cores = stage["judge_cores_for_a_day"]
    within = f", {cores:,} cores for a day" if cores > 1 else ""
    yield from _row("judge", f"{_core_time(estimated['judge_core_hours'])}{within}: {runs}")
    without = ", without inputs and outputs" if estimated["stages"] else ""
    yield from _row("disk", f"at most {_bytes(stage['disk'])} before compression{without}")


def _core_time(hours: float) -> str:
    return f"{hours:,.1f} core-hours" if hours >= 1 else f"{60 * hours:,.1f} core-minutes"


def _sum(stages: dict[str, Any]) -> dict[str, Any]:
    return {key: sum(used[key] for used in stages.values()) for key in next(iter(stages.values()))}


def _sft(stage: dict[str, Any]) -> Iterator[str]:
    if stage["examples"] is not None:
        yield from _row("examples", f"{stage['examples']:,} ({stage['examples_are']})")
    per_step = f"{stage['examples_per_step']:,} examples"
    if stage["rows_per_step"] is None:
        packed = stage["rows_per_step_at_the_papers_packing"]
        per_step += (
            f", packed: {packed:,} rows at the paper's {stage['papers_examples_per_row']} examples a row; measured "
        )
        per_step += "when it starts"
    yield from _row("step", per_step)
    yield from _row("row", f"{stage['tokens_per_row']:,} tokens at most")
    if stage["steps"] is not None:
        yield from _row(
            "steps",
            f"{stage['steps']:,}: {stage['trained_examples']:,} examples, at most "
            f"{_count(stage['tokens_at_most'])} tokens",
        )
    elif stage["tokens"] is not None:
        yield from _row("steps", f"as many as make {_count(stage['tokens'])} tokens")
    yield from _hours(stage["hours"])
    yield from _training(stage)


def _grpo(stage: dict[str, Any]) -> Iterator[str]:
    if stage["problems"] is not None:
        yield from _row("problems", f"{stage['problems']:,} ({stage['problems_are']})")
    yield from _row(
        "step",
        f"{stage['prompts_per_step']:,} prompts x {stage['rollouts']} rollouts = {stage['completions_per_step']:,} "
        f"completions = {stage['micro_batches_per_process']:,} micro-batches of {stage['micro_batch']:,} x "
        f"{stage['processes']} processes",
    )
    room = "" if stage["context"] is None else f" of the context's {stage['context']:,}"
    yield from _row("sequence", f"{stage['longest_sequence']:,} tokens at most{room}")
    if stage["steps"] is not None:
        yield from _row(
            "steps",
            f"{stage['steps']:,}: {stage['completions']:,} completions, at most "
            f"{_count(stage['new_tokens_at_most'])} new tokens",
        )
    yield from _hours(stage["hours"])
    judge = stage["judge"]
    if judge is not None:
        step = f"{judge['core_seconds_per_step']:,.0f} core-seconds a step"
        if judge["cores"] is not None:
            step += (
                f" of {judge['seconds_per_step']:,.0f} s; {judge['cores']:,} cores or more keep it to "
                f"{judge['share_of_step']:.0%} of the time"
            )
        runs = f"{judge['executions']:,} runs, {judge['tests']} for each completion"
        yield from _row("judge", f"{_core_time(judge['core_hours'])}: {runs}; {step}")
    yield from _training(stage)


def _evaluation(stage: dict[str, Any]) -> Iterator[str]:
    models = ", ".join(
        f"{label} {'(kept)' if made['whole'] else made['key']}" for label, made in stage["models"].items()
    )
    yield from _row("models", models)
    yield from _row("benchmarks", ", ".join(stage["benchmarks"]))
    ks = ", ".join(f"pass@{k}" for k in stage["k"])
    yield from _row("samples", f"{stage['samples']} of at most {stage['max_new_tokens']:,} tokens each, for {ks}")
    if stage["completions"] is not None:
        yield from _row(
            "completions",
            f"at most {stage['completions']:,}, {stage['heldout_problems']:,} held-out tasks; at most "
            f"{_bytes(stage['disk'])} before compression",
        )


def _hours(hours: dict[str, Any] | None) -> Iterator[str]:
    if hours is None:
        return
    price = "" if hours["price"] is None else f", {hours['price']:,.0f} at the stated price"
    yield from _row(
        "hours",
        f"at most {hours['device_hours']:,.0f} of one device, {hours['wall_hours']:,.1f} on {hours['devices']}{price}, "
        f"at {hours['tokens_per_second']:,.0f} tokens/s a device ({hours['speed_is']})",
    )


def _training(stage: dict[str, Any]) -> Iterator[str]:
    if stage["trained_parameters"] is not None:
        yield from _row("trained", f"{_count(stage['trained_parameters'])} parameters")
    memory = stage["memory"]
    if memory is not None:
        parts = ", ".join(
            f"{name.replace('_', ' ')} {_bytes(size)}"
            for name, size in memory.items()
            if name not in ("total", "host") and size
        )
        yield from _row("memory", f"about {_bytes(memory['total'])} per device: {parts}")
        if memory["host"]:
            yield from _row("", f"and {_bytes(memory['host'])} of a machine's own memory for what is offloaded")
    if stage["disk"]:
        parts = ", ".join(f"{name} {_bytes(size)}" for name, size in stage["disk"].items())
        yield from _row("disk", f"at most {_bytes(sum(stage['disk'].values()))}: {parts}")


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {label:{_LABEL}}",
        subsequent_indent=" " * (_LABEL + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(value: int) -> str:
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return str(value)


def _bytes(value: int) -> str:
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1024:.1f} KiB"
