"""A "language model" that reads the rendered prompts and answers through the procedural teacher.

It stands behind the loopback server, so that the whole path of a language model runs in a test: prompt, text, parsing,
verification, datasets. It errs as models do: answers without the format asked for, wrong and broken solutions, inputs
that break the bounds, validators and brute-force programs that are wrong. What it means is known by the statement.
"""

import json
import random
import re
from dataclasses import dataclass, field
from typing import Any

from synth.config import ProceduralTeacherSettings
from synth.features.tree import FeatureTree, tree_from_leaves
from synth.procedural.pipeline import OPERATIONS, Pipeline
from synth.procedural.task import draw_inputs, draw_task
from synth.procedural.teacher import ProceduralTeacher, Writing, mistakes, write_program
from xcoder_core.models.prompt import code_response
from xcoder_core.seeds import derive_seed

STYLES = {"Codeforces": "codeforces", "AtCoder": "atcoder", "LeetCode": "leetcode"}
NUMBERS = [path for path, operation in OPERATIONS.items() if operation.takes == operation.gives == "numbers"]

GENERATOR = """\
import json
import random
{imports}
seed, category = input().split()
random.seed(int(seed))
length = {{"edge": 4, "small": 5, "medium": 8, "large": 12}}[category]
values = {values}
k = random.randint(2, 4)
{write}
"""

VALIDATOR = """\
import json
import sys

lines = sys.stdin.read().rstrip("\\n").split("\\n")
{read}
print("valid" if {test} else "invalid: a value is out of bounds")
"""


def operation_tree() -> FeatureTree:
    """A feature tree of the operations on numbers that the model knows."""
    return tree_from_leaves(NUMBERS)


@dataclass
class ProceduralModel:
    """Answers one request: `model(messages, parameters)`. `pipelines` is the truth, by statement.

    A rate is the share of answers to one kind of question that are malformed or wrong.
    """

    malformed_rate: float = 0.15
    wrong_program_rate: float = 0.1
    wrong_rate: float = 0.12
    broken_rate: float = 0.05
    pipelines: dict[str, Pipeline] = field(default_factory=dict)

    def __call__(self, messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
        """The text of a completion, with reasoning. Equal requests get equal answers."""
        rng = random.Random(derive_seed("answer", json.dumps(messages), parameters.get("seed") or 0))
        prompt = next(message["content"] for message in messages if message["role"] == "user")
        return f"<think>\nA draft:\n```python\nprint('draft')\n```\n</think>\n\n{self._answer(prompt, rng)}"

    def _answer(self, prompt: str, rng: random.Random) -> str:
        first = prompt.split("\n")[0]
        if rng.random() < self.malformed_rate:
            return rng.choice(["I would rather not.", '```json\n{"features": [\n```', "```python\nprint(1"])
        if first.startswith("Here are features"):
            return _select(prompt, rng)
        if first.startswith("Write a programming task"):
            return self._write_task(prompt, rng)
        statement = re.search(
            r"--- The task begins here ---\n(.*?)(\n\n```python|\n--- The task ends)", prompt, re.DOTALL
        )
        assert statement is not None, prompt
        pipeline = self.pipelines[statement[1]]
        if first.startswith("Solve"):
            return self._solve(statement[1], pipeline, rng)
        if first.startswith("Write test inputs"):
            count = re.search(r"Write (\d+) different inputs", prompt)
            assert count is not None
            return _write_inputs(pipeline, int(count[1]), rng)
        if "generates test inputs" in first:
            return code_response(_generator(pipeline))
        if "checks test inputs" in first:
            return code_response(_validator(pipeline, 50 if rng.random() >= self.wrong_program_rate else 5))
        assert first.startswith("Write the simplest correct"), first
        return code_response(write_program(self._right_or_wrong(pipeline, rng), Writing(1, 0, 0)))

    def _write_task(self, prompt: str, rng: random.Random) -> str:
        style = next(style for name, style in STYLES.items() if f"The style is that of {name}" in prompt)
        features = re.findall(r"^- ([^:\n]+/[^:\n]+)", prompt, re.MULTILINE)
        operations = [OPERATIONS[path] for path in features]
        while True:
            try:
                task = draw_task(rng.getrandbits(60), min(2, len(operations)), style, operations=operations)  # type: ignore[arg-type]
                break
            except RuntimeError:  # these operations give no task that means something
                operations.append(OPERATIONS[rng.choice(NUMBERS)])
        self.pipelines[task.problem.statement] = task.pipeline
        answer = f"````statement\n{task.problem.statement}\n````"
        return (
            answer if task.problem.starter_code is None else f"{answer}\n\n```python\n{task.problem.starter_code}\n```"
        )

    def _solve(self, statement: str, pipeline: Pipeline, rng: random.Random) -> str:
        settings = ProceduralTeacherSettings(wrong_rate=self.wrong_rate, broken_rate=self.broken_rate)
        return ProceduralTeacher(settings, 7).responses(statement, pipeline, [rng.randrange(10**6)])[0]

    def _right_or_wrong(self, pipeline: Pipeline, rng: random.Random) -> Pipeline:
        wrong = mistakes(pipeline, rng) if rng.random() < self.wrong_program_rate else []
        return wrong[0] if wrong else pipeline


def _select(prompt: str, rng: random.Random) -> str:
    offered = re.findall(r"^- (.+)$", prompt, re.MULTILINE)
    chosen = rng.sample(offered, min(4, len(offered)))
    features = [{"feature": path, "use": "one step of the computation"} for path in chosen]
    return "```json\n" + json.dumps({"features": features, "strategy": "one step after the other"}) + "\n```"


def _write_inputs(pipeline: Pipeline, count: int, rng: random.Random) -> str:
    texts = list(draw_inputs(pipeline, count, rng.getrandbits(60)))
    if not pipeline.form.parameters:
        texts[-1] = texts[-1].rstrip().rpartition(" ")[0] + " 1000000\n"  # out of bounds: validators are to refuse it
    items = [
        {"category": "small", "input": text}
        if not pipeline.form.parameters
        else {"category": "small", "arguments": [json.loads(line) for line in text.split("\n")]}
        for text in texts
    ]
    return "```json\n" + json.dumps({"inputs": items}) + "\n```"


def _generator(pipeline: Pipeline) -> str:
    form = pipeline.form
    values = "[int(row[0]) for row in Vector.random(length, [(-50, 50)])]"
    if form.parameters:
        write = "print(json.dumps(values))" + ("\nprint(json.dumps(k))" if form.has_k else "")
    elif form.has_k:
        write = "print(length, k)\nprint(*values)"
    else:
        write = ("print(length)\n" if form.name == "counted integers" else "") + "print(*values)"
    return GENERATOR.format(imports="from cyaron import Vector", values=values, write=write)


def _validator(pipeline: Pipeline, bound: int) -> str:
    form = pipeline.form
    if form.parameters:
        read = "numbers = json.loads(lines[0])"
    else:
        read = f"numbers = [int(token) for token in lines[{int(form.name != 'line of integers')}].split()]"
    if form.name.startswith("counted"):
        read = "numbers = [int(token) for token in ' '.join(lines[1:]).split()]"
        if form.has_k:
            read = "numbers = [int(token) for token in ' '.join(lines).split()][2:]"
    return VALIDATOR.format(read=read, test=f"all(abs(number) <= {bound} for number in numbers)")
