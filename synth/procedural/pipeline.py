"""The subtree of the feature tree that a task is built from: an input form, operations in order, an output."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synth.procedural.input_forms import (
    ALPHABET,
    FORMS,
    FUNCTION_FORMS,
    STDIN_FORMS,
    InputForm,
    Instance,
    draw_instance,
)
from synth.procedural.operations import (
    LIST_OPERATIONS,
    NUMBER_OUTPUTS,
    WORD_OUTPUTS,
    Answer,
    Operation,
    Parameter,
)

RESERVED_SHARE = 0.1
"""Share of all signatures that only evaluation splits use."""

READ_K = "k"
"""The parameter of a step that is read from the input."""

PROBES = 12
"""Random inputs on which each operation of a drawn pipeline must change some answer."""

MAXIMUM_DRAWS = 20_000
"""Reserved pipelines of depth 6 take some 270 draws on average."""

OPERATIONS = {operation.feature: operation for operation in LIST_OPERATIONS}
OUTPUTS = {output.name: output for output in NUMBER_OUTPUTS + WORD_OUTPUTS}

_ENDING = {"numbers": NUMBER_OUTPUTS, "words": WORD_OUTPUTS}


@dataclass(frozen=True)
class Step:
    """An operation with its parameter: a constant, `READ_K`, or None where it takes none."""

    operation: Operation
    parameter: int | str | None = None


@dataclass(frozen=True)
class Pipeline:
    """What a task computes: `steps` in order on the values of `form`, then `output`."""

    form: InputForm
    steps: tuple[Step, ...]
    output: Operation

    @property
    def features(self) -> tuple[str, ...]:
        """Paths in the feature tree: the input form, the operations in order, the output."""
        return (self.form.feature, *(step.operation.feature for step in self.steps), self.output.feature)

    @property
    def signature(self) -> str:
        """The combination of features without parameters, which evaluation may reserve."""
        return " > ".join(self.features)

    @property
    def is_reserved(self) -> bool:
        """True for the fixed share of signatures, chosen by hash, that no training split may use."""
        digest = hashlib.sha256(self.signature.encode()).digest()
        return int.from_bytes(digest[:8], "big") < RESERVED_SHARE * 2**64

    def answer(self, instance: Instance) -> Answer:
        """The true answer, by the reference functions of the operations."""
        values = instance.values
        for step in self.steps:
            values = step.operation.right.apply(values, instance.k if step.parameter == READ_K else step.parameter)
        return self.output.right.apply(values)

    def differs(self, instances: list[Instance], answers: list[Answer]) -> bool:
        """True where it answers one of these inputs otherwise."""
        return any(self.answer(instance) != answer for instance, answer in zip(instances, answers, strict=True))

    def without(self, place: int) -> "Pipeline":
        """The pipeline that leaves out the step at a place."""
        return replace(self, steps=self.steps[:place] + self.steps[place + 1 :])


def operations_below(branches: Sequence[str]) -> tuple[Operation, ...]:
    """The operations whose path in the feature tree starts with one of `branches`; all of them without branches."""
    return tuple(operation for path, operation in OPERATIONS.items() if path.startswith(tuple(branches) or ""))


def draw_pipeline(
    rng: random.Random, depth: int, is_function: bool, reserved: bool, operations: Sequence[Operation] = LIST_OPERATIONS
) -> tuple[Pipeline, int]:
    """A meaningful pipeline of `depth` of these operations, and how many draws it took.

    A draw is refused when it is on the wrong side of the reservation, when an operation can be left out without
    changing any answer on random probe inputs, or when the answers are nearly constant.
    """
    for draw in range(1, MAXIMUM_DRAWS + 1):
        pipeline = _draw(rng, depth, is_function, operations)
        if pipeline is not None and pipeline.is_reserved == reserved and is_meaningful(pipeline, rng):
            return pipeline, draw
    raise RuntimeError(f"no meaningful pipeline of depth {depth} in {MAXIMUM_DRAWS} draws")


def is_meaningful(pipeline: Pipeline, rng: random.Random) -> bool:
    """True when answers vary and every operation changes some answer, on random probe inputs."""
    instances = [draw_instance(pipeline.form, rng) for _ in range(PROBES)]
    answers = [pipeline.answer(instance) for instance in instances]
    if Counter(map(repr, answers)).most_common(1)[0][1] > PROBES // 3:
        return False
    return all(
        step.operation.takes != step.operation.gives or pipeline.without(place).differs(instances, answers)
        for place, step in enumerate(pipeline.steps)
    )


def _draw(rng: random.Random, depth: int, is_function: bool, operations: Sequence[Operation]) -> Pipeline | None:
    taken = {operation.takes for operation in operations}
    form = rng.choice([form for form in (FUNCTION_FORMS if is_function else STDIN_FORMS) if form.values in taken])
    values: str = form.values
    steps: list[Step] = []
    for _ in range(depth):
        choices = [operation for operation in operations if operation.takes == values]
        if not choices:
            return None
        operation = rng.choice(choices)
        if any(step.operation is operation for step in steps):
            return None
        steps.append(Step(operation, _draw_parameter(operation.parameter, form, rng)))
        values = operation.gives
    if form.has_k and not any(step.parameter == READ_K for step in steps):
        return None
    return Pipeline(form, tuple(steps), rng.choice(_ENDING[values]))


_CONSTANTS = {"amount": (2, 9), "divisor": (3, 9), "count": (2, 4), "length": (2, 5), "prefix": (1, 3)}


def _draw_parameter(parameter: Parameter | None, form: InputForm, rng: random.Random) -> int | str | None:
    if parameter is None:
        return None
    if parameter == "letter":
        return rng.choice(ALPHABET)
    if form.has_k and parameter in ("amount", "count") and rng.random() < 0.6:
        return READ_K
    return rng.randint(*_CONSTANTS[parameter])


def write_pipeline(pipeline: Pipeline) -> str:
    """The pipeline as JSON, for a table."""
    steps = [[step.operation.feature, step.parameter] for step in pipeline.steps]
    return json.dumps({"form": pipeline.form.name, "steps": steps, "output": pipeline.output.name})


def read_pipeline(text: str) -> Pipeline:
    """The inverse of `write_pipeline`."""
    value = json.loads(text)
    steps = tuple(Step(OPERATIONS[feature], parameter) for feature, parameter in value["steps"])
    return Pipeline(FORMS[value["form"]], steps, OUTPUTS[value["output"]])
