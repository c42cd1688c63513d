"""Sample problems with each model's answer, and programs on which policies differ: chosen by rule, not by hand."""

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from evaluation.judging import PolicyDifference, SampleVerdict
from evaluation.prompting import extractor
from evaluation.results import ModelResult
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from evaluation.tables import outcome_name
from xcoder_core.problem import Problem
from xcoder_core.records import read_records

STATEMENT_BYTES, STATEMENTS_BYTES = 6_000, 500_000  # of one, and of all together
COMPLETIONS_BYTES = 1_000_000  # of the page, for all completions together
COMPLETION_BYTES = 24_000
PROGRAMS, PROGRAM_BYTES = 6, 8_000  # on which policies differ: of one benchmark, and of each


@dataclass(frozen=True)
class Answer:
    """One completion of one model. `code` is the program in it, `rest` the whole text where it says more."""

    label: str
    verdict: SampleVerdict
    failure: str
    counts: ProblemCounts
    tokens: int
    code: str | None
    rest: str | None


@dataclass(frozen=True)
class Example:
    """A problem, why it was chosen, and the answer of each model."""

    problem: Problem
    statement: str
    group: str
    why: str
    answers: list[Answer]


def choose_examples(results: Mapping[str, ModelResult], samples: int) -> list[Example]:
    """At most `samples` completions, the same number of each model: one problem of each kind in turn, by problem_id.

    Of a problem that a model solves the first right sample is shown, else the first sample that has a verdict.
    """
    counts = {label: {count.problem_id: count for count in result.counts} for label, result in results.items()}
    chosen = dict(list(_by_kind(counts))[: samples // len(results)])
    if not chosen:
        return []
    problems = {p.problem_id: p for p in next(iter(results.values())).problems() if p.problem_id in chosen}
    limit = min(COMPLETION_BYTES, COMPLETIONS_BYTES // (2 * len(chosen) * len(results)))
    answers = {label: _answers(label, result, counts[label], chosen, limit) for label, result in results.items()}
    return [
        Example(
            problem=problems[name],
            statement=shortened(problems[name].statement, min(STATEMENT_BYTES, STATEMENTS_BYTES // len(chosen))),
            group=next(iter(counts.values()))[name].group,
            why=why,
            answers=[answers[label][name] for label in results if name in answers[label]],
        )
        for name, why in chosen.items()
    ]


def shortened(text: str, most_bytes: int) -> str:
    """The text cut so that its escaped form takes at most `most_bytes`, saying how much is left out."""
    if len(html.escape(text).encode("utf-8", "replace")) <= most_bytes:
        return text
    kept, used = 0, 0
    for character in text:
        used += len(html.escape(character).encode("utf-8", "replace"))
        if used > most_bytes:
            break
        kept += 1
    return f"{text[:kept]}\n… {len(text) - kept:,} more characters are not shown"


def _by_kind(counts: Mapping[str, Mapping[str, ProblemCounts]]) -> chain[tuple[str, str]]:
    """(problem_id, why) of each kind in turn: gained, solved by all, solved by none, lost, gained, …"""
    labels = list(counts)
    kinds: dict[str, list[tuple[str, str]]] = {"gained": [], "all": [], "none": [], "lost": [], "other": []}
    for name in sorted(counts[labels[0]]):
        solved = [counts[label][name].correct > 0 for label in labels]
        if all(solved):
            kinds["all"].append((name, "Solved by every model" if len(labels) > 1 else "Solved"))
        elif not any(solved):
            kinds["none"].append((name, "Solved by no model" if len(labels) > 1 else "Not solved"))
        elif solved[-1] and not solved[-2]:
            kinds["gained"].append((name, f"Solved by {labels[-1]}, not by {labels[-2]}"))
        elif solved[-2] and not solved[-1]:
            kinds["lost"].append((name, f"Solved by {labels[-2]}, no longer by {labels[-1]}"))
        else:
            right = [label for label, is_solved in zip(labels, solved, strict=True) if is_solved]
            wrong = [label for label in labels if label not in right]
            kinds["other"].append((name, f"Solved by {' and '.join(right)}, not by {' and '.join(wrong)}"))
    in_turn = chain.from_iterable(zip_longest(*kinds.values()))
    return chain(item for item in in_turn if item is not None)


def _answers(
    label: str, result: ModelResult, counts: Mapping[str, ProblemCounts], chosen: Mapping[str, str], limit: int
) -> dict[str, Answer]:
    shown: dict[str, SampleVerdict] = {}
    for verdict in result.verdicts():
        name = verdict.problem_id
        if name not in chosen or verdict.failure == "invalid":
            continue
        if name not in shown or (verdict.failure == "none" != shown[name].failure):
            shown[name] = verdict
    answers = {}
    extract = extractor(result.scores["extraction"])
    for sample in read_records(result.layout.samples, Sample):
        name, text = sample.problem_id, sample.completion
        if name not in shown or sample.sample_index != shown[name].sample_index:
            continue
        code = extract(text)
        says_more = code is None or len(text.strip()) > len(code.strip()) + len("```python\n\n```")
        answers[name] = Answer(
            label=label,
            verdict=shown[name],
            failure="none" if shown[name].failure == "none" else outcome_name(shown[name].failure),
            counts=counts[name],
            tokens=sample.completion_tokens,
            code=None if code is None else shortened(code, limit),
            rest=shortened(text, limit) if says_more else None,
        )
    return answers


@dataclass(frozen=True)
class PolicyProgram:
    """One program with what each policy says of it, and how many samples of the model wrote it."""

    label: str
    problem: str
    verdicts: str
    samples: int
    code: str


def choose_programs(results: Mapping[str, ModelResult], benchmark: str) -> tuple[str, list[PolicyProgram], int]:
    """What is said of the differences on a benchmark, at most `PROGRAMS` of the programs, and how many are left out."""
    kinds: dict[str, list[PolicyProgram]] = {}
    counts: Counter[str] = Counter()
    for label, result in results.items():
        path = result.layout.policy_differences
        mine = {count.problem_id for count in result.counts if count.benchmark == benchmark}
        names: dict[str, str] = {}
        for row in read_records(path, PolicyDifference):
            if row.problem_id not in mine:
                continue
            names = names or {problem.problem_id: problem.source for problem in result.problems()}
            verdicts = f"{row.first_policy} {row.first}, {row.second_policy} {row.second}"
            counts[verdicts] += 1
            if len(kept := kinds.setdefault(verdicts, [])) < PROGRAMS:
                code = shortened(row.code, PROGRAM_BYTES)
                problem = names[row.problem_id] or row.problem_id
                kept.append(PolicyProgram(label, problem, verdicts, row.samples, code))
    in_turn = chain.from_iterable(zip_longest(*(kinds[verdicts] for verdicts in sorted(kinds))))
    chosen = [program for program in in_turn if program is not None][:PROGRAMS]
    if not counts:
        return "The policies agree on every program.", [], 0
    listed = "; ".join(f"{verdicts}: {count:,}" for verdicts, count in sorted(counts.items()))
    return f"The policies differ on {counts.total():,} programs ({listed}).", chosen, counts.total() - len(chosen)
