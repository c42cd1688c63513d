"""A language model as the teacher: dialogues for tasks, inputs and solutions, and what the stored answers took."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from reward.config import JudgeSettings
from reward.open_judge import open_judge
from synth.config import SynthSettings, count_tasks
from synth.execution import FAILED_SHARE
from synth.features.stage import make_features, needs_model, subtrees
from synth.language_model.config import LocalTeacherSettings, OpenAITeacherSettings
from synth.language_model.dialogue import Dialogue, Interview, Unusable
from synth.language_model.inputs import collect_inputs
from synth.language_model.questions import Draft, ask_programs, ask_solution, ask_task
from synth.tables import Candidate, Quarantined, Task, TaskInputs, WorkTables, split_of
from synth.teaching import TaskOrder
from xcoder_core.models.answered import Answers
from xcoder_core.models.request import Generator, Usage
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.problem import Limits
from xcoder_core.records import read_table
from xcoder_core.terminal import table_console

Result = TypeVar("Result")

STAGES = ("features", "tasks", "inputs", "solutions")


@dataclass(frozen=True)
class LanguageModelTeacher:
    """Answers for one run. The model is loaded by the first stage that asks it; stages that are done do not."""

    settings: SynthSettings
    teacher: OpenAITeacherSettings | LocalTeacherSettings
    judge_settings: JudgeSettings
    tables: WorkTables
    seed: int

    @cached_property
    def model(self) -> Generator:
        """What samples the answers."""
        return open_teacher(self.teacher, self.seed)

    def tasks(self, orders: Iterable[TaskOrder], limits: Limits, taken: set[str]) -> Iterator[Task | Quarantined]:
        """A task for each order, from the subtree of its number. Raises `InputError` where there are too few."""
        features, folder = self.settings.features, self.tables.features
        with self._interview("features", features.sampling) if needs_model(features) else nullcontext() as interview:
            make_features(features, interview, folder, self.seed)
        drawn = subtrees(features, folder, count_tasks(self.settings), self.seed)

        def dialogues() -> Iterator[tuple[str, Dialogue[Task]]]:
            for order in orders:
                subtree = next(one for one in drawn if one.index == order.number)
                stages, model = self.settings.tasks.stages, model_name(self.teacher)
                yield order.task_id, ask_task(order, subtree, stages, limits, model)

        with self._interview("tasks", self.teacher.sampling.tasks) as asked:
            yield from self._hold(asked, dialogues())

    def inputs(self, tasks: Iterable[Task], count: int) -> Iterator[TaskInputs | Quarantined]:
        """At most `count` test inputs of each task, after what was set aside on the way to them."""
        settings = self.settings.inputs
        most_written = self.judge_settings.model_copy(update={"output_mib": math.ceil(settings.largest_kib / 1024)})
        with self._interview("inputs", self.teacher.sampling.inputs) as interview, open_judge(most_written) as judge:
            unanswered: list[Quarantined] = []

            def drafts() -> Iterator[Draft]:
                dialogues = ((task.task_id, ask_programs(task, count, settings)) for task in tasks)
                for outcome in self._hold(interview, dialogues):
                    if isinstance(outcome, Quarantined):
                        unanswered.append(outcome)
                    else:
                        yield outcome

            most_failures = FAILED_SHARE * count_tasks(self.settings)
            yield from collect_inputs(drafts(), judge, count, settings, self.seed, most_failures)
            for outcome in unanswered:
                yield outcome
                yield TaskInputs(outcome.task_id, ())

    def candidates(self, missing: Iterable[tuple[Task, list[int]]]) -> Iterator[list[Candidate]]:
        """A candidate solution for each task and place."""
        name = model_name(self.teacher)
        dialogues = (
            (f"{task.task_id}/{index}", ask_solution(task, index, name, self.settings.solutions))
            for task, indices in missing
            for index in indices
        )
        with self._interview("solutions", self.teacher.sampling.solutions) as interview:
            for outcome in self._hold(interview, dialogues):
                if isinstance(outcome, Quarantined):
                    outcome = Candidate(outcome.task_id, outcome.index, name, "", "", outcome.reason)
                yield [outcome]

    def close(self) -> None:
        """Let go of the model, where it was loaded."""
        model = self.__dict__.pop("model", None)
        if hasattr(model, "close"):
            model.close()

    @contextmanager
    def _interview(self, stage: str, sampling: SamplingSettings) -> Iterator[Interview]:
        with Answers(self.tables.answers(stage)) as answers:
            yield Interview(self.model, answers, sampling, stage, self.seed)
            answers.seal()

    def _hold(
        self, interview: Interview, dialogues: Iterable[tuple[str, Dialogue[Result]]]
    ) -> Iterator[Result | Quarantined]:
        """The results, and a `Quarantined` for each dialogue without one, as `hold_nearly_all` yields them."""
        for key, outcome in interview.hold_nearly_all(dialogues):
            if isinstance(outcome, Unusable):
                # A key is a task's id, with the place of a candidate where it is about one.
                task_id, _, index = key.partition("/")
                yield Quarantined(task_id, int(index or -1), split_of(task_id), str(outcome), outcome.answer)
            else:
                yield outcome


def open_teacher(teacher: OpenAITeacherSettings | LocalTeacherSettings, seed: int) -> Generator:
    """What samples the teacher's answers. Raises `EnvironmentLacks` where a package, a key or the hub is missing."""
    from xcoder_core.models.loading import open_generator  # it needs torch, which a server's client does not

    if isinstance(teacher, OpenAITeacherSettings):
        settings = GenerationSettings(backend="openai", openai=teacher.server)
    else:
        settings = teacher.generation.model_copy(update={"backend": teacher.kind})
    return open_generator(settings, model_name(teacher), seed)


def model_name(settings: OpenAITeacherSettings | LocalTeacherSettings) -> str:
    """What the records call the model."""
    return settings.server.model or "" if isinstance(settings, OpenAITeacherSettings) else settings.model


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
