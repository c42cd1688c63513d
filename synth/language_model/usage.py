"""What a language-model teacher took, per stage: answers, tokens and their price, counted from the kept answers."""

from synth.language_model.config import LocalTeacherSettings, OpenAITeacherSettings
from synth.tables import WorkTables
from xcoder_core.models.request import Usage
from xcoder_core.records import read_table
from xcoder_core.terminal import table_console

STAGES = ("features", "tasks", "inputs", "solutions")


def count_usage(teacher: OpenAITeacherSettings | LocalTeacherSettings, tables: WorkTables) -> dict[str, Usage]:
    """Usage by stage; a second try is a request of its own. A resumed run counts the same as one that never stopped."""
    import pyarrow.compute

    usage = {}
    for stage in STAGES:
        if not tables.answers(stage).exists():  # features that were not asked for
            continue
        answers = read_table(tables.answers(stage), ["prompt_tokens", "completion_tokens"])
        prompt, completion = (pyarrow.compute.sum(column, min_count=0).as_py() for column in answers.columns)
        cost = 0.0
        if isinstance(teacher, OpenAITeacherSettings):
            cost = teacher.server.cost(prompt, completion)
        usage[stage] = Usage(len(answers), prompt_tokens=prompt, completion_tokens=completion, cost=cost)
    return usage


def print_usage(usage: dict[str, Usage]) -> None:
    """One table on standard error: a row per stage, and their sum."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns = ("stage", "answers", "prompt tokens", "completion tokens", "cost")
    table = Table(*columns, title="Teacher", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage, used in {**usage, "all": sum(usage.values(), Usage())}.items():
        counts = (used.requests, used.prompt_tokens, used.completion_tokens)
        table.add_row(stage, *(f"{count:,}" for count in counts), f"{used.cost:,.2f}")
    table_console(stderr=True).print(table)
