"""Sample problems with each model's answer side by side, chosen by rule and not by hand."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from evaluation.breakdown_tables import outcome_name
from evaluation.extraction import extractor
from evaluation.judging import SampleVerdict
from evaluation.results import ModelResult
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_core.problem import Problem

STATEMENT_BYTES, STATEMENTS_BYTES = 6_000, 500_000  # of one, and of all together
COMPLETIONS_BYTES = 1_000_000  # of the page, for all completions together
COMPLETION_BYTES = 24_000


@dataclass(frozen=True)
class Answer:
    """One completion of one model. `code` is the program in it, `rest` the whole text where it says more."""

    label: str
    verdict: str
    failure: str
    passed: int
    total: int
    correct: int
    samples: int
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
    label: str,
    result: ModelResult,
    counts: Mapping[str, ProblemCounts],
    chosen: Mapping[str, str],
    limit: int,
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
    for sample in result.samples():
        verdict = shown.get(sample.problem_id)  # type: ignore[assignment]
        if verdict is not None and sample.sample_index == verdict.sample_index:
            answers[sample.problem_id] = _answer(
                label, sample, extract(sample.completion), verdict, counts[sample.problem_id], limit
            )
    return answers


def _answer(
    label: str, sample: Sample, code: str | None, verdict: SampleVerdict, counts: ProblemCounts, limit: int
) -> Answer:
    says_more = code is None or len(sample.completion.strip()) > len(code.strip()) + len("```python\n\n```")
    return Answer(
        label=label,
        verdict=verdict.verdict,
        failure="none" if verdict.failure == "none" else outcome_name(verdict.failure),
        passed=verdict.passed,
        total=verdict.total,
        correct=counts.correct,
        samples=counts.samples,
        tokens=sample.completion_tokens,
        code=None if code is None else shortened(code, limit),
        rest=shortened(sample.completion, limit) if says_more else None,
    )
