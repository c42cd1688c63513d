"""What cleaning finds and what it takes by mistake: precision and recall on planted copies of known kinds.

    python -m benchmarks.cleaning

Statements of a contest's form are composed here: a story, a question, input and output sections, constraints. Half of
them stand for a training set, the other half for an evaluation set. Of each evaluation problem one copy of each kind is
planted among the training tasks:

- exact; re-typeset (case, punctuation, line breaks);
- edited: 2, 5, 10, 20 or 40 % of the words replaced by other words;
- inside a longer text (an introduction before it, remarks after it);
- reordered: the sentences of each part in another order; synonyms: every word that has one replaced by it;
  retold: both, with another order of the parts;
- look-alike: another problem, told by the same sentences with one word that turns its meaning (greatest for least).

Copies should be found; look-alikes and the training half's own problems, which share the sections' sentences with the
evaluation half, should stay. Decontamination compares with the evaluation half; near-duplicate removal has the
evaluation half first in its order, as a run has. Needs some seconds of one core; writes
benchmarks/results/cleaning.json, and the tables of docs/cleaning.md from it.
"""

import argparse
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.cleaning import Decontamination, EvaluationProblem, EvaluationSet, find_duplicates
from synth.config import CleaningSettings
from xcoder_core.files import write_json, write_text

RESULTS = Path(__file__).parent / "results" / "cleaning.json"
PAGE = Path(__file__).parents[1] / "docs" / "cleaning.md"
BEGIN, END = "<!-- tables of benchmarks/cleaning.py -->", "<!-- end of the tables -->"

SIMILARITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
RULES: tuple[tuple[int, float, int | None], ...] = (
    (8, 0, None),
    (10, 0, None),
    (13, 0, None),
    (13, 0, 3),
    (8, 0.2, 3),
    (6, 0.2, 3),
    (5, 0.1, 3),
    (5, 0.2, 3),
    (5, 0.3, 3),
)
"""Words of an n-gram, the share that is asked for, and how many problems may have an n-gram in common."""
FEW_PROBLEMS = 20
TO_STAY = ("look-alike", "own")

ACTORS = (
    "gardener", "baker", "sailor", "miner", "farmer", "librarian",
    "watchmaker", "beekeeper", "glazier", "potter", "tailor", "weaver",
)  # fmt: skip
PLACES = (
    "valley", "harbour", "quarry", "orchard", "castle", "market",
    "island", "village", "monastery", "desert", "forest", "canal",
)  # fmt: skip
THINGS = (
    "crates", "lanterns", "stones", "barrels", "ribbons", "coins",
    "kites", "bricks", "letters", "jars", "planks", "bells",
)  # fmt: skip
TRAITS = (
    "weight", "height", "price", "age",
    "brightness", "length", "depth", "value",
)  # fmt: skip
OPENINGS = (
    "A {actor} from the {place} keeps {things} in a long row.",
    "In the {place} there lives a {actor} who counts {things} every evening.",
    "Long ago a {actor} brought some {things} to the {place} and hid them behind a wall.",
    "The {place} is famous for its {things}, and this year a {actor} wrote a list of them before the fair.",
    "Nobody in the {place} knows why the old {actor} buys so many {things}.",
    "After the flood, the {actor} found {things} scattered all over the {place}.",
    "Two rivals, a {actor} and a judge of the {place}, divide {things} between them by a curious rule.",
    "When winter comes to the {place}, the {actor} has to store {things} in sheds along the road.",
    "A machine in the {place} sorts {things}, and the {actor} who built it wants to prove that it works.",
    "The queen of the {place} asks her {actor} for advice about a collection of {things}.",
)
QUALITIES = (
    "old", "heavy", "polished", "broken", "narrow", "painted", "famous",
    "crooked", "empty", "silent", "careful", "stubborn", "young",
)  # fmt: skip
DEEDS = (
    "carries", "sorts", "weighs", "paints", "counts", "trades",
    "repairs", "stacks", "hides", "lifts", "lends", "measures",
)  # fmt: skip
RELATIONS = (
    "beside", "behind", "above", "near", "under",
    "along", "across", "beyond", "inside", "outside",
)  # fmt: skip
CONDITIONS = (
    "before sunrise", "after each storm", "without any help", "for two coins",
    "in pairs", "once a week", "by hand", "in secret",
)  # fmt: skip
DETAILS = (
    "The {quality} {actor} {deed} {quality} {things} {relation} the {quality} {place} {condition}.",
    "{Condition}, a {actor} {deed} those {things} whose {trait} is {quality} or {quality}.",
    "No {actor} {relation} the {place} {deed} {things} of {quality} {trait} {condition}.",
    "Whenever the {quality} {place} is {quality}, its {actor} {deed} the {things} {relation} a {quality} {place}.",
)
QUESTIONS = (
    "Find the {most} sum of the {trait} over a contiguous block of at least k {things}.",
    "Find the {most} difference in {trait} between two {things} that are k places apart.",
    "Find the {most} number of {things} that must be removed so that no two neighbours have the same {trait}.",
    "Find the {most} number of groups into which the {things} can be cut so that each has a {trait} of k in all.",
    "Find the {most} {trait} that remains when the {actor} swaps neighbours no more than k times.",
    "Find the {most} distance between two {things} such that the {trait} of one divides that of the other.",
    "Find the {most} number of days after which all {things} reach a {trait} of k if each grows by its place a day.",
    "Find the {most} cost of painting the {things} so that k of them in a row never share a colour.",
    "Find the {most} place at which the {actor} can stand with k times the {trait} to the left.",
    "Find the {most} length of a subsequence in which every {trait} is a multiple of the one before it.",
    "Find the {most} number of {things} that can be carried when the {trait} of no two of them may differ by k.",
    "Find the {most} power of two that divides the product of the {trait} of k chosen {things}.",
)
INPUTS = (
    "The first line of the input contains two integers n and k, and the second line contains n integers.",
    "The first line contains n and k. Each of the n lines that follow it contains one integer.",
    "Each test contains several cases, and the first line of the input contains their number t.",
    "Input is given from standard input in the form of one line with n, k and then all values.",
    "The input consists of n rows of k numbers each, separated by single spaces.",
    "The only line of the input contains a string of n lower-case letters followed by the integer k.",
)
OUTPUTS = (
    "Print a single integer, the answer to the problem.",
    "If there is no such answer, print -1 instead.",
    "For each case, print the answer on a line of its own.",
    "Output one number: the value that was asked for, modulo 998244353.",
    "Print the answer with an absolute or relative error of at most one millionth.",
)
BOUNDS = (
    "It is guaranteed that n is at most {n} and that no absolute value in the input exceeds {limit}.",
    "Constraints: n is at most {n}, k lies between 1 and n, and every value between 1 and {limit}.",
    "It is guaranteed that the sum of n over all test cases does not exceed {n}.",
    "All values in the input are integers between 0 and {limit}, and n is less than {n}.",
)
SYNONYMS = {
    "find": "determine", "greatest": "largest", "least": "smallest", "number": "count", "sum": "total",
    "contains": "holds", "print": "output", "single": "one", "answer": "result", "guaranteed": "certain",
    "input": "data", "line": "row", "integers": "numbers", "integer": "number", "keeps": "stores", "long": "lengthy",
    "row": "sequence", "small": "little", "lives": "dwells", "every": "each", "known": "recorded",
    "famous": "renowned", "contiguous": "consecutive", "block": "segment", "pairs": "couples",
    "neighbours": "adjacent ones", "removed": "deleted", "same": "equal", "remains": "is left", "cut": "divided",
    "separated": "split", "difference": "gap", "distance": "way", "length": "extent", "cost": "price",
    "chosen": "picked", "broken": "damaged", "empty": "void", "silent": "mute", "carries": "bears", "hides": "conceals",
    "repairs": "mends", "near": "close to", "beside": "next to", "young": "youthful", "trades": "barters",
    "values": "numbers", "string": "word", "cases": "instances", "exceed": "surpass", "form": "shape", "rows": "lines",
    "advice": "counsel", "store": "stow", "found": "discovered", "divide": "share", "built": "made", "lost": "missing",
    "touched": "moved", "rope": "cord", "ropes": "cords", "stands": "is", "noted": "recorded", "seconds": "moments",
    "lift": "raise", "also": "moreover", "negative": "minus", "even": "divisible by two", "order": "arrangement",
    "absolute": "magnitude of any", "exceeds": "is above", "instead": "in that case",
    "written": "noted", "brought": "carried", "travellers": "visitors", "argue": "quarrel", "reach": "attain",
}  # fmt: skip
OTHER_WORDS = (
    "amber", "violet", "seven", "beyond", "quiet", "copper",
    "northern", "hollow", "gentle", "marble", "distant", "silver",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """The parts of a statement, each of some sentences."""

    parts: tuple[str, ...]

    def text(self) -> str:
        return "\n\n".join(self.parts)


@dataclass(frozen=True, slots=True)
class Planted:
    """A training task. `source` is the place of the evaluation problem that it copies or looks like."""

    task_id: str
    problem_id: str
    split: str
    statement: str
    kind: str
    source: int | None


def compose(rng: random.Random, most: str) -> Statement:
    """A problem of its own. `most` is what it asks for: greatest or least."""
    words = {
        "actor": rng.choice(ACTORS),
        "place": rng.choice(PLACES),
        "things": rng.choice(THINGS),
        "trait": rng.choice(TRAITS),
        "most": most,
        "n": str(rng.choice((100, 2000, 100000, 200000))),
        "limit": str(10 ** rng.randint(3, 9)),
    }
    story = [rng.choice(OPENINGS), *(detail(rng) for _ in range(4))]
    rest = [rng.choice(part) for part in (QUESTIONS, INPUTS, OUTPUTS, BOUNDS)]
    return Statement(tuple(part.format(**words) for part in (" ".join(story), *rest)))


def detail(rng: random.Random) -> str:
    """A sentence of the story that hardly any other story has."""
    banks = {"quality": QUALITIES, "actor": ACTORS, "deed": DEEDS, "things": THINGS, "relation": RELATIONS}
    banks |= {"place": PLACES, "trait": TRAITS, "condition": CONDITIONS}

    def word(slot: re.Match[str]) -> str:
        drawn = rng.choice(banks[slot[1].lower()])
        return drawn.capitalize() if slot[1][0].isupper() else drawn

    return re.sub(r"{(\w+)}", word, rng.choice(DETAILS))


def edit(statement: Statement, share: float, rng: random.Random) -> str:
    """Replace a share of the words."""
    words = statement.text().split(" ")
    for place in rng.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = rng.choice(OTHER_WORDS)
    return " ".join(words)


def retype(statement: Statement) -> str:
    return re.sub(r"[.,]", " ;", statement.text().upper()).replace("\n\n", "\n")


def embed(statement: Statement, rng: random.Random) -> str:
    before = " ".join(rng.choices(OTHER_WORDS + ACTORS + PLACES, k=80))
    return f"{before}.\n{statement.text()}\n{' '.join(rng.choices(OTHER_WORDS + THINGS, k=80))}."


def reorder(parts: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    """The sentences of each part in another order, where it has several."""
    told = []
    for part in parts:
        sentences = re.findall(r"[^.]+\.", part)
        told.append(" ".join(sentence.strip() for sentence in sentences[1:] + sentences[:1]))
    return tuple(told)


def replace_synonyms(text: str) -> str:
    def other(found: re.Match[str]) -> str:
        word = found[0]
        new = SYNONYMS.get(word.lower(), word)
        return new.capitalize() if word[0].isupper() else new

    return re.sub(r"[A-Za-z]+", other, text)


def retell(statement: Statement, rng: random.Random) -> str:
    parts = list(reorder(statement.parts, rng))
    rng.shuffle(parts)
    return replace_synonyms("\n\n".join(parts))


def look_alike(statement: Statement) -> str:
    turned = {"greatest": "least", "least": "greatest"}
    return re.sub("Find the (greatest|least)", lambda found: f"Find the {turned[found[1]]}", statement.text())


def copies(rng: random.Random) -> dict[str, Callable[[Statement], str]]:
    """By kind: how a statement is copied."""
    kinds: dict[str, Callable[[Statement], str]] = {"exact": Statement.text, "re-typeset": retype}
    for percent in (2, 5, 10, 20, 40):
        kinds[f"{percent} % of words edited"] = lambda statement, share=percent / 100: edit(statement, share, rng)
    kinds["inside a longer text"] = lambda statement: embed(statement, rng)
    kinds["sentences reordered"] = lambda statement: "\n\n".join(reorder(statement.parts, rng))
    kinds["synonyms"] = lambda statement: replace_synonyms(statement.text())
    kinds["retold"] = lambda statement: retell(statement, rng)
    kinds["look-alike"] = look_alike
    return kinds


def plant(problems: int, seed: int) -> tuple[list[str], list[Planted]]:
    """Statements of the evaluation half, and the training tasks: the other half, then the copies."""
    rng = random.Random(seed)
    composed: dict[str, Statement] = {}
    while len(composed) < 2 * problems:
        statement = compose(rng, rng.choice(("greatest", "least")))
        composed.setdefault(statement.text(), statement)
    statements = list(composed.values())
    held, own = statements[:problems], statements[problems:]
    texts = [(statement.text(), "own", None) for statement in own]
    kinds = copies(rng)
    texts += [(copy(item), kind, place) for kind, copy in kinds.items() for place, item in enumerate(held)]
    tasks = [
        Planted(f"001-train-{number:08d}", f"train {number}", "train", text, kind, source)
        for number, (text, kind, source) in enumerate(texts)
    ]
    return [statement.text() for statement in held], tasks


def score(tasks: list[Planted], found: set[str]) -> dict[str, Any]:
    """The share of each kind that was taken out, and precision and recall over all kinds."""
    kinds = list(dict.fromkeys(task.kind for task in tasks))
    shares = {
        kind: sum(task.task_id in found for task in tasks if task.kind == kind)
        / sum(task.kind == kind for task in tasks)
        for kind in kinds
    }
    right = sum(task.task_id in found and task.kind not in TO_STAY for task in tasks)
    planted = sum(task.kind not in TO_STAY for task in tasks)
    return {"found": shares, "precision": right / max(1, len(found)), "recall": right / planted}


def near_duplicates(held: list[str], tasks: list[Planted], similarity: float) -> dict[str, Any]:
    """Each kind by itself after the evaluation half, so that no copy is found by another copy."""
    settings = CleaningSettings(similarity=similarity)
    first = [Planted(f"000-held-{n:08d}", f"held {n}", "held", text, "held", None) for n, text in enumerate(held)]
    found: set[str] = set()
    for kind in dict.fromkeys(task.kind for task in tasks):
        ours = [task for task in tasks if task.kind == kind]
        removals = find_duplicates(iter([*first, *ours]), settings)
        found |= {row.task_id for row in removals if row.split == "train"}
    return score(tasks, found)


def decontaminate(
    held: list[str], tasks: list[Planted], words: int, share: float, boilerplate: int | None
) -> dict[str, Any]:
    """What is taken out against the evaluation half as an evaluation set."""
    settings = CleaningSettings(ngram_words=words, ngram_share=share, boilerplate=boilerplate)
    problems = tuple(EvaluationProblem("held", str(place), text, None) for place, text in enumerate(held))
    check = Decontamination([EvaluationSet("held", "", problems)], settings)
    return score(tasks, {task.task_id for task in tasks if check.find(task.statement) is not None})


def measure(problems: int, seed: int) -> dict[str, Any]:
    """All figures of the page."""
    held, tasks = plant(problems, seed)
    few_held, few_tasks = plant(FEW_PROBLEMS, seed)
    default = CleaningSettings()
    rule = (default.ngram_words, default.ngram_share, default.boilerplate)
    return {
        "problems": problems,
        "seed": seed,
        "words_of_a_statement": round(sum(len(text.split()) for text in held) / len(held)),
        "defaults": {"similarity": default.similarity, "rule": rule},
        "default_rule_with_few_problems": decontaminate(few_held, few_tasks, *rule),
        "near_duplicates": {str(limit): near_duplicates(held, tasks, limit) for limit in SIMILARITIES},
        "decontamination": {
            f"{words}, {share:g}, {'all' if most is None else f'≤ {most}'}": decontaminate(
                held, tasks, words, share, most
            )
            for words, share, most in RULES
        },
    }


def tables(result: dict[str, Any]) -> str:
    """The figures as two Markdown tables, a column per setting."""
    told = []
    for name, title in (("near_duplicates", "similarity"), ("decontamination", "words, share, in problems")):
        columns = result[name]
        kinds = next(iter(columns.values()))["found"]
        rows = [f"| taken out, {title}: | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for kind in kinds:
            label = f"*{kind}* (should stay)" if kind in TO_STAY else kind
            shares = [column["found"][kind] for column in columns.values()]
            rows.append(f"| {label} | " + " | ".join(f"{100 * share:.0f} %" for share in shares) + " |")
        for figure in ("precision", "recall"):
            rows.append(f"| {figure} | " + " | ".join(f"{100 * c[figure]:.1f} %" for c in columns.values()) + " |")
        told.append("\n".join(rows))
    return "\n\n".join(told)


def main() -> None:
    """Measure, write the results, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    started = time.process_time()
    result = measure(chosen.problems, chosen.seed)
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    write_json(RESULTS, result)
    print(tables(result))
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    write_text(PAGE, f"{before}{BEGIN}\n\n{tables(result)}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
