"""Synthesis from beginning to end: tasks, inputs, candidates, executions, verification, cleaning, datasets.

Every stage stores each record when it is made and skips those that are stored, so that a killed run goes on and
leaves the same bytes. The settings and the seed alone decide the tables; measured seconds are in `timings.json`.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from reward.config import JudgeSettings
from synth.cleaning import clean
from synth.config import ProceduralTeacherSettings, SynthSettings, count_tasks, uses_of
from synth.execution import execute_brute_force, execute_candidates
from synth.funnel import count_funnel, print_funnel, refuse_nothing_kept, write_card
from synth.language_model.teacher import LanguageModelTeacher, count_usage, print_usage
from synth.procedural.teacher import ProceduralTeacher
from synth.publication import publish_datasets, publish_tables
from synth.published.stage import import_published
from synth.tables import StatedTask, Verdict, WorkTables
from synth.teaching import Teacher, make_candidates, make_inputs, make_tasks
from synth.verification import verify_tasks
from xcoder_core.files import write_json, write_text
from xcoder_core.models.prompt import PromptStyle
from xcoder_core.records import read_records
from xcoder_core.stage import StageContext, SynthLayout


def synthesise(
    settings: SynthSettings, judge_settings: JudgeSettings, prompt_style: PromptStyle, context: StageContext
) -> None:
    """Make the tables of `SynthLayout` and the datasets in `context.folder`; a killed run goes on where it stopped.

    Raises `InfrastructureError` when the judge fails on more than 1 % of the tasks, or a model leaves more than 1 % of
    its questions unanswered.
    """
    for half_written in context.folder.rglob(".*.tmp"):  # what a killed process left is of no use
        half_written.unlink()
    if settings.imports:
        import_published(settings, prompt_style, context)
        return
    executor = settings.executor or judge_settings.executor
    judge_settings = judge_settings.model_copy(update={"executor": executor})
    tables, layout = WorkTables(context.folder), SynthLayout(context.folder)
    timings: dict[str, dict[str, float]] = {}

    teacher: Teacher
    if isinstance(settings.teacher, ProceduralTeacherSettings):
        teacher = ProceduralTeacher(settings.teacher, context.seed)
    else:
        teacher = LanguageModelTeacher(settings, settings.teacher, judge_settings, tables, context.seed)
    with closing(teacher):
        with _timed("tasks", timings):
            make_tasks(settings, teacher, tables, context.seed)
        with _timed("inputs", timings):
            make_inputs(settings, teacher, tables)
        with _timed("candidates", timings):
            make_candidates(settings, teacher, tables)
    with _timed("executions", timings):
        execute_candidates(judge_settings, tables, count_tasks(settings))
    with _timed("brute force", timings):
        execute_brute_force(judge_settings, tables)
    with _timed("verification", timings):
        verify_tasks(settings, tables, context.seed)
    with _timed("cleaning", timings):
        clean(settings.cleaning, tables, layout, lambda: _verified(tables), uses_of(settings))
    with _timed("datasets", timings):
        publish_tables(tables, layout)
        rows = publish_datasets(settings, tables, layout, prompt_style, context.seed)
        funnels = count_funnel(settings, tables)
        for use, count in rows.items():
            write_text(layout.dataset(use) / "README.md", write_card(use, count, settings, context.seed, funnels))

    funnel = {name: split.as_json() for name, split in funnels.items()}
    write_json(layout.funnel, funnel)
    write_json(context.folder / "timings.json", timings)
    print_funnel(funnels)
    refuse_nothing_kept(funnels.values(), context.folder)
    if isinstance(settings.teacher, ProceduralTeacherSettings):
        context.finish(funnel=funnel, dataset_rows=rows)
    else:
        usage = count_usage(settings.teacher, tables)
        print_usage(usage)
        context.finish(funnel=funnel, dataset_rows=rows, usage={stage: asdict(used) for stage, used in usage.items()})


def _verified(tables: WorkTables) -> Iterator[StatedTask]:
    for verdict in read_records(tables.verdicts, Verdict):
        if verdict.reason is None:
            yield StatedTask(verdict.task_id, verdict.problem_id, verdict.split, verdict.statement)


@contextmanager
def _timed(stage: str, timings: dict[str, dict[str, float]]) -> Iterator[None]:
    wall, own, children = time.monotonic(), time.process_time(), _children_seconds()
    yield
    timings[stage] = {
        "wall_seconds": round(time.monotonic() - wall, 3),
        "cpu_seconds": round(time.process_time() - own, 3),
        "judge_cpu_seconds": round(_children_seconds() - children, 3),
    }


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
