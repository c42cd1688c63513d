"""Generators and validators in the sandbox: what they make, and what is refused, is the same every time."""

from collections import Counter
from collections.abc import Iterator

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from synth.config import InputSettings
from synth.execution import smaller_half
from synth.language_model.inputs import collect_inputs
from synth.language_model.questions import Draft, Input
from synth.tables import Quarantined, Task, TaskInputs
from xcoder_core.problem import Problem

GENERATOR = "import random\nseed, category = input().split()\nrandom.seed(int(seed))\n"
STARTER = "class Solution:\n    def best(self, nums: list[float], k: int) -> int:"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(workers=1)) as judge:
        yield judge


def collect(
    judge: Judge,
    generator: str | None = None,
    validator: str | None = None,
    inputs: tuple[tuple[str, str], ...] = (),
    starter: str | None = None,
    share: float = 0.5,
    largest_kib: int = 1024,
) -> tuple[TaskInputs, list[Quarantined]]:
    io, name = ("stdin", None) if starter is None else ("function", "best")
    problem = Problem("p", "Add.", "codeforces", io, name, starter)  # type: ignore[arg-type]
    task = Task("000-a-00000000", "a", "sft", 1, 1, None, problem)
    draft = Draft(task, [Input("prompt", *pair) for pair in inputs], generator, validator, None)
    settings = InputSettings(generated_share=share, largest_kib=largest_kib)
    *aside, made = collect_inputs([draft], judge, 8, settings, 5, most_failures=0)
    assert isinstance(made, TaskInputs)
    return made, aside  # type: ignore[return-value]


def test_a_generator_gives_its_share_of_different_inputs_in_all_categories(judge: Judge) -> None:
    made, aside = collect(judge, GENERATOR + "print(category, random.randrange(10**9))", inputs=(("edge", "1\n"),) * 3)
    assert not aside and made.generator is not None
    assert made.origins == ("prompt", *("generator",) * 4)
    assert Counter(made.categories) == {"edge": 2, "small": 1, "medium": 1, "large": 1}
    assert len(set(made.inputs)) == 5 and "repeated" in made.refused
    assert collect(judge, GENERATOR + "print(category, random.randrange(10**9))")[0].inputs == made.inputs[1:]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import random\nprint(random.SystemRandom().random())", "write_generator: its outputs differ for one seed"),
        ("raise SystemExit(3)", "write_generator: prints nothing (RE)"),
    ],
)
def test_a_generator_that_cannot_be_trusted_is_set_aside(judge: Judge, program: str, reason: str) -> None:
    made, aside = collect(judge, program, inputs=(("edge", "1\n"),))
    assert [one.reason for one in aside] == [reason]
    assert made.generator is None and made.inputs == ("1\n",)


def test_inputs_that_the_validator_refuses_or_fails_on_are_dropped_with_the_reason(judge: Judge) -> None:
    validator = "n = int(input())\nprint('valid' if n > 0 else 'invalid: n is not positive')"
    inputs = (("edge", "1\n"), ("edge", "0\n"), ("edge", "x\n"), ("small", "2\n"))
    made, _ = collect(judge, None, validator, inputs, share=0.0)
    assert made.inputs == ("1\n", "2\n")
    assert made.refused == ("validator refused: n is not positive", "validator failed: RE")
    mute, _ = collect(judge, None, "pass", inputs[:1], share=0.0)
    assert mute.inputs == () and mute.refused == ("validator failed: it said neither valid nor invalid",)


def test_arguments_of_a_function_are_json_one_a_line(judge: Judge) -> None:
    program = GENERATOR + "import json\nprint(json.dumps([random.random()]))\nif category != 'edge':\n    print(3)"
    made, _ = collect(judge, program, starter=STARTER, share=1.0)
    assert made.inputs and all(text.endswith("]\n3") for text in made.inputs)
    assert Counter(made.refused) == {"not the arguments of the function as JSON": 4}


def test_inputs_above_the_size_limit_are_dropped(judge: Judge) -> None:
    made, _ = collect(judge, inputs=(("large", "1" * 2000 + "\n"), ("edge", "1\n")), largest_kib=1)
    assert made.inputs == ("1\n",) and made.refused == ("too large",)


def test_a_brute_force_runs_on_the_smaller_half() -> None:
    assert smaller_half([5, 1, 9, 3]) == [1, 3]
    assert smaller_half([7]) == [0]
    assert smaller_half([2, 2, 2]) == [0, 1, 2]
