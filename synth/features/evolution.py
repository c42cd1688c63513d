"""Feature evolution: a language model grows the tree in breadth (siblings) and depth (finer features below leaves).

After X-Coder, section 3, and EpiCoder. They rewrite random samples of the tree; here a round asks about every branch
once, so the same tree always gives the same questions.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synth.features.answering import Paths, hold_dialogues
from synth.features.config import EvolutionSettings
from synth.features.names import normal_form
from synth.features.tree import CATEGORIES, FeatureTree, TreeError, tree_from_nested
from synth.language_model.dialogue import Dialogue, Interview, Question
from synth.prompts import AnswerError, read_object, render
from xcoder_core.seeds import derive_seed

SHOWN = 40
"""Most names that a question shows: of a wider branch, a sample in breadth, and several questions in depth."""

MAXIMUM_NAME = 100
"""Characters of a new feature's name; what is longer is a sentence."""


@dataclass(frozen=True, slots=True)
class BranchQuestion:
    """What is asked about one branch: `names` are its children (breadth) or its leaves (depth)."""

    key: str
    direction: Literal["breadth", "depth"]
    path: Paths
    names: Paths


def evolve_features(
    tree: FeatureTree, settings: EvolutionSettings, interview: Interview, folder: Path, seed: int
) -> None:
    """Grow the tree by every round; the answers of each are kept in the table `round-<n>.parquet` of the folder."""
    for number in range(1, settings.rounds + 1):
        questions = branch_questions(tree, settings, derive_seed(seed, "evolution", number))
        dialogues = ((f"{number}/{question.key}", _ask(question, settings.new_features)) for question in questions)
        table = folder / f"round-{number}.parquet"
        for answer in hold_dialogues(interview, table, dialogues, len(questions), f"feature evolution {number}"):
            for path in answer.features:
                tree.grow(path)


def branch_questions(tree: FeatureTree, settings: EvolutionSettings, seed: int) -> list[BranchQuestion]:
    """The questions of one round, in the order of the tree; a sample by seed where there may not be so many."""
    rng = random.Random(seed)
    questions = list(_all_questions(tree, settings, rng))
    if settings.questions_per_round is None or len(questions) <= settings.questions_per_round:
        return questions
    chosen = sorted(rng.sample(range(len(questions)), settings.questions_per_round))
    return [questions[place] for place in chosen]


def read_siblings(answer: str, question: BranchQuestion) -> Paths:
    """The paths of the new features of a branch; raises `AnswerError` for another format."""
    return _paths(question.path, read_object(answer, ("features",))["features"])


def read_finer(answer: str, question: BranchQuestion) -> Paths:
    """The paths of the new features below leaves; raises `AnswerError` for another format or another leaf."""
    finer = read_object(answer, ("features",))["features"]
    if not isinstance(finer, dict) or not finer:
        raise AnswerError("`features` must be an object from features of the list to lists of finer ones")
    leaves = {normal_form(name): name for name in question.names}
    paths: list[str] = []
    for leaf, names in finer.items():
        if normal_form(leaf) not in leaves:
            raise AnswerError(f"`{leaf}` is not one of the features of the list")
        paths += _paths((*question.path, leaves[normal_form(leaf)]), names)
    return tuple(paths)


def _all_questions(tree: FeatureTree, settings: EvolutionSettings, rng: random.Random) -> Iterator[BranchQuestion]:
    for path, node in tree.nodes():
        if not node.children:
            continue
        names = tuple(path.split("/"))
        children = [child.name for child in node.sorted_children()]
        shown = children if len(children) <= SHOWN else sorted(rng.sample(children, SHOWN))
        yield BranchQuestion(f"breadth/{path}", "breadth", names, tuple(shown))
        if len(names) + 1 < settings.maximum_levels:
            leaves = [child.name for child in node.sorted_children() if not child.children]
            for start in range(0, len(leaves), SHOWN):
                key = f"depth/{path}/{start}"
                yield BranchQuestion(key, "depth", names, tuple(leaves[start : start + SHOWN]))


def _ask(question: BranchQuestion, wanted: int) -> Dialogue[Paths]:
    category = normal_form(question.path[0])
    meaning = next((text for name, text in CATEGORIES.items() if normal_form(name) == category), "")
    in_breadth = question.direction == "breadth"
    name, names = ("evolve_breadth", "children") if in_breadth else ("evolve_depth", "leaves")
    messages = render(name, path=question.path, meaning=meaning, wanted=wanted, **{names: question.names})
    read = read_siblings if in_breadth else read_finer
    return (yield Question(name, messages, lambda completion: read(completion.text, question)))


def _paths(path: Paths, names: object) -> Paths:
    """Paths of features with these names below `path`."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise AnswerError(f"expected a list of one or more names below `{path[-1]}`")
    above = {normal_form(name) for name in path}
    for name in names:
        if len(name) > MAXIMUM_NAME:
            raise AnswerError(f"`{name[:40]}…` has {len(name)} characters; a name has at most {MAXIMUM_NAME}")
        if normal_form(name) in above:
            raise AnswerError(f"`{name}` repeats a feature above it")
    try:
        below = tree_from_nested({path[0]: names})
    except TreeError as error:
        raise AnswerError(str(error)) from error
    start = "/".join(path)
    return tuple(f"{start}/{leaf.partition('/')[2]}" for leaf in below.leaves())
