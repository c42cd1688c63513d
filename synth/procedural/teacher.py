"""The procedural teacher as synthesis asks it: a task, its inputs, one response at a time, and the truth.

Every answer is a function of the run's seed and of what is asked, so asking again gives the same answer.
"""

import random
from dataclasses import dataclass

from synth.config import ProceduralTeacherSettings, Style
from synth.procedural.mistakes import break_program, draw_breakage, mistakes
from synth.procedural.pipeline import Pipeline, operations_below
from synth.procedural.program import Writing, write_program, writings
from synth.procedural.task import ProceduralTask, draw_inputs, draw_task
from xcoder_train.core.problem import Limits
from xcoder_train.core.prompt import code_response
from xcoder_train.core.seeds import derive_seed

NAME = "procedural"


@dataclass(frozen=True)
class ProceduralTeacher:
    """Answers for one run. `task_id` names what is asked; nothing else is remembered."""

    settings: ProceduralTeacherSettings
    seed: int

    def task(
        self, task_id: str, attempt: int, depth: int, style: Style, reserved: bool, limits: Limits
    ) -> ProceduralTask:
        """The task of this name; another `attempt` is another task."""
        seed = derive_seed(self.seed, "task", task_id, attempt)
        return draw_task(seed, depth, style, reserved, limits, operations_below(self.settings.features))

    def inputs(self, task_id: str, pipeline: Pipeline, count: int) -> tuple[str, ...]:
        """`count` different test inputs."""
        return draw_inputs(pipeline, count, derive_seed(self.seed, "inputs", task_id))

    def responses(self, task_id: str, pipeline: Pipeline, indices: list[int]) -> list[str]:
        """The candidates at these places: right ones in styles that alternate, mistaken and broken ones at their rates.

        The first plausible mistake of a task is its common one; `common_mistake_rate` of the mistaken share it.
        """
        shuffle = random.Random(derive_seed(self.seed, "writing", task_id))
        order = _writing_order(writings(pipeline, self.settings.variable_names), shuffle)
        wrong: list[Pipeline] | None = None
        responses = []
        for index in indices:
            rng = random.Random(derive_seed(self.seed, "response", task_id, index))
            writing = order[index % len(order)]
            luck = rng.random()
            if luck < self.settings.broken_rate:
                responses.append(break_program(write_program(pipeline, writing), draw_breakage(rng), rng))
                continue
            programmed = pipeline
            if luck < self.settings.broken_rate + self.settings.wrong_rate:
                if wrong is None:
                    wrong = mistakes(pipeline, random.Random(derive_seed(self.seed, "mistakes", task_id)))
                if wrong:
                    shares_common = len(wrong) == 1 or rng.random() < self.settings.common_mistake_rate
                    programmed = wrong[0] if shares_common else rng.choice(wrong[1:])
            responses.append(code_response(write_program(programmed, writing)))
        return responses


def _writing_order(choices: list[Writing], rng: random.Random) -> list[Writing]:
    """All choices, shuffled so that any three in a row have three code styles."""
    by_style: dict[int, list[Writing]] = {}
    for writing in choices:
        by_style.setdefault(writing.style, []).append(writing)
    styles = rng.sample(sorted(by_style), len(by_style))
    columns = [rng.sample(by_style[style], len(by_style[style])) for style in styles]
    return [writing for row in zip(*columns, strict=True) for writing in row]
