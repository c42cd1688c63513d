"""The test inputs of a task: generators and validators of a language model run in the judge's sandbox.

A generator reads one line "SEED CATEGORY" and prints one input. It runs twice on its first line, and is set aside where
the outputs differ, since its inputs could not be made again. A validator reads one input and prints `valid`.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from reward.executor import Executor
from reward.submission import Submission
from reward.verdict import Execution, Run
from synth.config import InputSettings
from synth.execution import FAILED_SHARE, INFRASTRUCTURE_FAILURE
from synth.language_model.questions import CATEGORIES, Draft, Input, generated_count, read_signature
from synth.tables import Quarantined, TaskInputs
from xcoder_core.errors import InfrastructureError
from xcoder_core.problem import Limits
from xcoder_core.seeds import derive_seed

TASKS_AT_ONCE = 128
"""Tasks whose programs are run together; their inputs are in memory at the same time."""

SPARE = 2
"""A generator is run this many times as often as inputs are wanted from it: some repeat or are refused."""

MEMORY_MIB = 1024

LONGEST_REASON = 200
"""Characters kept of what a validator says."""


def collect_inputs(
    drafts: Iterable[Draft],
    judge: Executor,
    inputs_per_task: int,
    settings: InputSettings,
    seed: int,
    most_failures: float,
) -> Iterator[TaskInputs | Quarantined]:
    """Yield what was set aside, and the inputs of each task that generators printed and validators accepted.

    A task on whose programs the judge fails has no inputs. Raises `InfrastructureError` where more than `most_failures`
    tasks fail that way; what was yielded before stays valid.
    """
    failures = 0
    pending = iter(drafts)
    generated = generated_count(inputs_per_task, settings)
    while some := list(islice(pending, TASKS_AT_ONCE)):
        if generated:
            _generate(some, judge, generated, settings, seed)
        for draft in some:
            _drop_unfit(draft, settings)
        _validate(some, judge, settings)
        failures += sum(one.reason == INFRASTRUCTURE_FAILURE for draft in some for one in draft.set_aside)
        if failures > most_failures:
            raise InfrastructureError(
                f"the judge itself failed on the generators or validators of {failures} tasks. At most "
                f"{FAILED_SHARE:.0%} may be lost. Look at it (xcoder doctor), then run the same command again; no "
                "question is asked twice."
            )
        for draft in some:
            yield from draft.set_aside
            yield _task_inputs(draft, inputs_per_task - generated, generated)


def _generate(drafts: list[Draft], judge: Executor, count: int, settings: InputSettings, seed: int) -> None:
    """Run the generators: one line a run, the categories in turn, and the first line once more."""
    asked = [
        (draft, program, [_order(draft, place, seed) for place in range(SPARE * count)])
        for draft in drafts
        if (program := draft.generator) is not None
    ]
    submissions = (_submission(draft, program, (*lines, lines[0]), settings) for draft, program, lines in asked)
    for (draft, program, lines), execution in zip(asked, judge.execute(submissions), strict=True):
        *runs, again = execution.runs
        outputs = [run.output for run in runs]
        draft.generator = None
        if _has_failed(draft, execution):
            continue
        if outputs[0] != again.output:
            draft.put_aside("write_generator: its outputs differ for one seed", program)
        elif not any(outputs):
            draft.put_aside(f"write_generator: prints nothing ({runs[0].status})", runs[0].error)
        else:
            draft.generator = program
            for line, run, output in zip(lines, runs, outputs, strict=True):
                if output is None:
                    draft.refused.append(f"generator failed: {run.status}")
                else:
                    draft.inputs.append(Input("generator", line.split()[1], _normal(draft, output)))


def _order(draft: Draft, place: int, seed: int) -> str:
    number = derive_seed(seed, "generator", draft.task.task_id, place) % 10**9
    return f"{number} {CATEGORIES[place % len(CATEGORIES)]}\n"


def _validate(drafts: list[Draft], judge: Executor, settings: InputSettings) -> None:
    asked = [(draft, program) for draft in drafts if (program := draft.validator) is not None and draft.inputs]
    submissions = (
        _submission(draft, program, tuple(one.text for one in draft.inputs), settings) for draft, program in asked
    )
    for (draft, _), execution in zip(asked, judge.execute(submissions), strict=True):
        if not _has_failed(draft, execution):
            verdicts = [_refusal(run) for run in execution.runs]
            draft.refused += [verdict for verdict in verdicts if verdict is not None]
            draft.inputs = [one for one, verdict in zip(draft.inputs, verdicts, strict=True) if verdict is None]


def _has_failed(draft: Draft, execution: Execution) -> bool:
    """Nothing is known of a program on which the judge failed; the task then has no inputs at all."""
    if all(run.status != "IE" for run in execution.runs):
        return False
    draft.put_aside(INFRASTRUCTURE_FAILURE, "")
    draft.inputs = []
    return True


def _refusal(run: Run) -> str | None:
    """Why a validator's run does not let an input pass, None where it does."""
    if run.status != "OK":
        return f"validator failed: {run.status}"
    said = (run.output or "").strip()
    if said == "valid":
        return None
    if said.startswith("invalid"):
        return f"validator refused{said.removeprefix('invalid')[:LONGEST_REASON]}"
    return "validator failed: it said neither valid nor invalid"


def _drop_unfit(draft: Draft, settings: InputSettings) -> None:
    starter = draft.task.problem.starter_code
    parameters = None if starter is None else len(read_signature(starter)[1])
    kept: dict[str, Input] = {}
    for one in draft.inputs:
        if len(one.text.encode()) > settings.largest_kib * 1024:
            draft.refused.append("too large")
        elif not one.text.strip():
            draft.refused.append("empty")
        elif parameters is not None and not _are_arguments(one.text, parameters):
            draft.refused.append("not the arguments of the function as JSON")
        elif one.text in kept:
            draft.refused.append("repeated")
        else:
            kept[one.text] = one
    draft.inputs = list(kept.values())


def _normal(draft: Draft, output: str) -> str:
    if draft.task.problem.io == "function":
        return "\n".join(line for line in output.split("\n") if line.strip())
    return output if output.endswith("\n") else output + "\n"


def _are_arguments(text: str, parameters: int) -> bool:
    lines = text.split("\n")
    try:
        for line in lines:
            json.loads(line)
    except (ValueError, RecursionError):
        return False
    return len(lines) == parameters


def _task_inputs(draft: Draft, prompted: int, generated: int) -> TaskInputs:
    """Each kind up to its share; where one falls short, the other does not take its place."""
    taken = [one for one in draft.inputs if one.origin == "prompt"][:prompted]
    taken += [one for one in draft.inputs if one.origin == "generator"][:generated]
    return TaskInputs(
        task_id=draft.task.task_id,
        inputs=tuple(one.text for one in taken),
        origins=tuple(one.origin for one in taken),
        categories=tuple(one.category for one in taken),
        refused=tuple(draft.refused),
        generator=draft.generator,
        validator=draft.validator,
        brute_force=draft.brute_force,
    )


def _submission(draft: Draft, code: str, inputs: tuple[str, ...], settings: InputSettings) -> Submission:
    limits = Limits(settings.limit_seconds, MEMORY_MIB)
    return Submission(id=draft.task.task_id, code=code, inputs=inputs, expected=(None,) * len(inputs), limits=limits)
