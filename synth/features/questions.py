"""What a language model is asked about features: to extract them from tasks with solutions, and to evolve the tree.

Extraction names what a task and its solution are made of (X-Coder, section 3). Evolution grows the tree in breadth
(siblings) and depth (finer features below leaves), after X-Coder and EpiCoder. They rewrite random samples of the tree;
here a round asks about every branch once, so the same tree always gives the same questions.

Answers are kept as tables: each has features, or the reason why there are none.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from synth.features.config import EvolutionSettings, Snippets
from synth.features.tree import CATEGORIES, FeatureTree, normal_form, tree_from_leaves, tree_from_nested
from synth.language_model.dialogue import Dialogue, Interview, Question, Unusable
from synth.prompts import AnswerError, read_answer, read_object, render
from xcoder_core.errors import InputError
from xcoder_core.records import RecordStore, read_records
from xcoder_core.rows import BadRow, read_rows
from xcoder_core.seeds import derive_seed
from xcoder_core.terminal import Progress

Paths = tuple[str, ...]

SHOWN = 40
"""Most names that a question shows: of a wider branch, a sample in breadth, and several questions in depth."""

MAXIMUM_NAME = 100
"""Characters of a new feature's name; what is longer is a sentence."""

_CATEGORIES = {normal_form(name): name for name in CATEGORIES}


@dataclass(frozen=True, slots=True)
class FeatureAnswer:
    """The answer to one question: paths of features, or the reason why there are none and the answer's whole text."""

    key: str
    features: Paths
    reason: str | None
    answer: str = ""


def hold_dialogues(
    interview: Interview,
    path: Path,
    dialogues: Iterable[tuple[str, Dialogue[Paths] | FeatureAnswer]],
    total: int,
    title: str,
) -> Iterator[FeatureAnswer]:
    """Ask what the table at `path` does not hold yet, seal it, and yield its records in the order of their keys.

    A `FeatureAnswer` among the dialogues is stored unchanged. Raises `InfrastructureError` where more than 1 % of all
    questions stay unanswered; fewer are stored with that reason.
    """
    store = RecordStore(path, FeatureAnswer, ("key",))
    if not store.is_sealed:
        with Progress(title, total, "questions", done=len(store.keys)) as progress:

            def new() -> Iterator[tuple[str, Dialogue[Paths]]]:
                for key, dialogue in dialogues:
                    if (key,) in store.keys:
                        continue
                    if isinstance(dialogue, FeatureAnswer):
                        store.append(dialogue)
                        progress.advance()
                    else:
                        yield key, dialogue

            for key, outcome in interview.hold_nearly_all(new(), total):
                if isinstance(outcome, Unusable):
                    store.append(FeatureAnswer(key, (), outcome.reason, outcome.answer))
                else:
                    store.append(FeatureAnswer(key, outcome, None))
                progress.advance()
        store.seal()
    yield from read_records(path, FeatureAnswer)


def extract_features(settings: Snippets, interview: Interview, path: Path) -> FeatureTree:
    """The merged features of all snippets, each counted by snippets. The table at `path` keeps the answers."""
    total = sum(1 for _ in _snippets(settings))
    tree = FeatureTree()
    for answer in hold_dialogues(interview, path, _snippets(settings), total, "feature extraction"):
        tree.merge(tree_from_leaves(answer.features))
    if not tree.children:
        raise InputError(f"no row of {settings.path} gave features; the column `reason` of {path} says why")
    return tree


def _snippets(settings: Snippets) -> Iterator[tuple[str, Dialogue[Paths] | FeatureAnswer]]:
    """The dialogue about each row, by its number from 1, or why there is none."""
    for row in islice(read_rows(settings.path), settings.limit):
        key = f"{row.place if isinstance(row, BadRow) else row[0].number:09d}"
        try:
            if isinstance(row, BadRow):
                raise ValueError(row.reason)
            instruction = _text(row[1], settings.instruction)
            code = "" if settings.code is None else _text(row[1], settings.code)
            length = len(instruction) + len(code)
            if length > settings.maximum_characters:
                raise ValueError(f"{length} characters, more than maximum_characters ({settings.maximum_characters})")
        except ValueError as error:
            yield key, FeatureAnswer(key, (), str(error))
        else:
            yield key, _ask_snippet(instruction, code)


def read_extraction(answer: str) -> Paths:
    """The paths of the features in an answer; raises `AnswerError` for another format or an unknown category."""
    value = read_answer(answer)
    if not isinstance(value, dict):
        raise AnswerError(f"expected an object with some of the keys {', '.join(CATEGORIES)}")
    by_category: dict[str, object] = {}
    for name, below in value.items():
        category = _CATEGORIES.get(normal_form(name))
        if category is None:
            raise AnswerError(f"`{name}` is no category; the categories are {', '.join(CATEGORIES)}")
        if category in by_category:
            raise AnswerError(f"the category `{category}` stands twice")
        by_category[category] = below
    features = tuple(leaf for leaf in tree_from_nested(by_category).leaves() if "/" in leaf)
    if not features:
        raise AnswerError("there is no feature below any category")
    return features


def _ask_snippet(instruction: str, code: str) -> Dialogue[Paths]:
    categories = [{"name": name, "meaning": meaning} for name, meaning in CATEGORIES.items()]
    messages = render("extract_features", categories=categories, instruction=instruction.strip(), code=code.strip())
    return (yield Question("extract_features", messages, lambda completion: read_extraction(completion.text)))


def _text(values: dict[str, object], column: str) -> str:
    if column not in values:
        raise ValueError(f"there is no column `{column}`; the row has {', '.join(sorted(values))}")
    value = values[column]
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the column `{column}` holds no text")
    return value


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
        dialogues = (
            (f"{number}/{question.key}", _ask_branch(question, settings.new_features)) for question in questions
        )
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


def _ask_branch(question: BranchQuestion, wanted: int) -> Dialogue[Paths]:
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
    start = "/".join(path)
    return tuple(f"{start}/{leaf.partition('/')[2]}" for leaf in tree_from_nested({path[0]: names}).leaves())
