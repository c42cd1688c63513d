"""HumanEval's answers judged by the package `evalplus` and by this project, form by form.

    python -m benchmarks.humaneval HUMANEVAL --python PYTHON
    python -m benchmarks.humaneval HUMANEVAL --python PYTHON --answers ANSWERS

HUMANEVAL is OpenAI's `HumanEval.jsonl.gz`; PYTHON an interpreter that has `evalplus` 0.3.1. Without ANSWERS the answers
are made of the canonical solutions, right and wrong, in the forms in which models give them. A line of ANSWERS is
`{"task_id": …, "text": …}`, a model's answer to the prompt of a chat model.
"""

import argparse
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.evalplus import load_evalplus, program_in, program_under_test
from evaluation.prompting import extractor
from reward.checker import read_checker
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Verdict
from xcoder_core.rows import sound_rows

OFFICIAL = Path(__file__).with_name("humaneval_official.py")
ALONE = "function alone"
"""The one form that is judged otherwise here: what the prompt holds before the function is given to the program."""


@dataclass(frozen=True)
class Answer:
    """A text for a task; `continues` where a base model went on from the prompt."""

    task: str
    form: str
    text: str
    continues: bool = False


@dataclass(frozen=True)
class Outcome:
    """What both say of an answer."""

    answer: Answer
    ours: Verdict | None
    official: bool

    @property
    def passes(self) -> bool:
        """Ours."""
        return self.ours is Verdict.AC


def made_answers(rows: list[dict[str, Any]]) -> Iterator[Answer]:
    """The canonical solutions, and programs made wrong from them."""
    for row in rows:
        task, prompt, body, name = row["task_id"], row["prompt"], row["canonical_solution"], row["entry_point"]
        whole, alone = _fenced(prompt + body), _fenced(prompt[prompt.index(f"def {name}(") :] + body)
        usage = "\nExample usage:\n\n" + _fenced(f"print({name}.__name__)")
        yield Answer(task, "whole program", whole)
        yield Answer(task, ALONE, alone)
        yield Answer(task, "with an example of its use", f"Here is the function.\n\n{whole}{usage}")
        yield Answer(task, "no fence", prompt + body)
        yield Answer(task, "body, as base models write it", body, continues=True)
        wrong = (prompt + body).replace(
            f"def {name}(", "def almost("
        ) + f"\ndef {name}(*a):\n    return almost(*a), 0\n"
        yield Answer(task, "wrong result", _fenced(wrong))
        yield Answer(task, "raises", _fenced(prompt + "    raise ValueError\n    return None\n"))
        yield Answer(task, "another name", _fenced((prompt + body).replace(name, f"{name}_of_mine")))
        yield Answer(task, "no Python", _fenced(prompt + "    return (\n"))


def judged(path: Path, python: str, answers: list[Answer]) -> list[Outcome]:
    """Both harnesses on the same answers."""
    rows = {row["task_id"]: row for _, row in sound_rows(path, "HumanEval.jsonl.gz")}
    tasks = {task: [answer for answer in answers if answer.task == task] for task in rows}
    tasks = {task: asked for task, asked in tasks.items() if asked}
    lines = [json.dumps(rows[t] | {"answers": [[a.text, a.continues] for a in asked]}) for t, asked in tasks.items()]
    told = subprocess.run([python, OFFICIAL], input="\n".join(lines), capture_output=True, text=True, check=True)
    official = dict(zip(tasks, map(json.loads, told.stdout.splitlines()), strict=True))
    ours = _ours(path, tasks)
    return [Outcome(a, ours.get((t, n)), official[t][n]) for t, asked in tasks.items() for n, a in enumerate(asked)]


def _ours(path: Path, tasks: dict[str, list[Answer]]) -> dict[tuple[str, int], Verdict]:
    benchmark = load_evalplus(path)
    submissions = []
    for problem in benchmark.problems:
        task = problem.source.partition(":")[2]
        for number, answer in enumerate(tasks.get(task, ())):
            rule = extractor("livecodebench-base" if answer.continues else "last_block")
            code = program_in(problem, answer.text, rule)
            if code is not None:
                inputs = tuple(case.input for case in benchmark.tests[problem.problem_id])
                submissions.append(
                    Submission(
                        json.dumps([task, number]),
                        program_under_test(problem, code),
                        inputs,
                        ("",) * len(inputs),
                        limits=problem.limits,
                        checker=read_checker(problem.checker),
                    )
                )
    with Judge(JudgeSettings()) as judge:
        judgements = judge.judge(iter(submissions), stop_at_first_failure=True)
        return {tuple(json.loads(judgement.id)): judgement.verdict for judgement in judgements}  # type: ignore[misc]


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```\n"


def main() -> None:
    """Judge and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("humaneval", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--differences", action="store_true", help="show each answer that is judged otherwise")
    chosen = parser.parse_args()
    rows = [row for _, row in sound_rows(chosen.humaneval, "HumanEval.jsonl.gz")]
    if chosen.answers is None:
        answers = list(made_answers(rows))
    else:
        answers = [Answer(r["task_id"], "a model's", r["text"]) for _, r in sound_rows(chosen.answers, "answers")]
    forms = defaultdict(list)
    for outcome in judged(chosen.humaneval, chosen.python, answers):
        forms[outcome.answer.form].append(outcome)
    print("| form | answers | pass there | pass here | agree | verdicts here |\n|---|---:|---:|---:|---:|---|")
    for form, found in forms.items():
        verdicts = Counter("no code" if o.ours is None else o.ours.value for o in found)
        said = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common())
        agree, ours = sum(o.passes == o.official for o in found), sum(o.passes for o in found)
        print(f"| {form} | {len(found)} | {sum(o.official for o in found)} | {ours} | {agree} | {said} |")
        for outcome in found if chosen.differences else ():
            if outcome.passes != outcome.official:
                print(
                    f"{outcome.answer.task}: here {outcome.ours}, there {outcome.official}\n{outcome.answer.text}\n----"
                )


if __name__ == "__main__":
    main()
