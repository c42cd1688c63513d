"""Feature extraction: a language model names what a task and its solution are made of (X-Coder, section 3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synth.features.answering import FeatureAnswer, Paths, hold_dialogues
from synth.features.config import Snippets
from synth.features.names import normal_form
from synth.features.tree import CATEGORIES, FeatureTree, TreeError, tree_from_leaves, tree_from_nested
from synth.language_model.dialogue import Dialogue, Interview, Question
from synth.prompts import AnswerError, read_answer, render
from xcoder_core.errors import InputError
from xcoder_core.rows import BadRow, read_rows

_CATEGORIES = {normal_form(name): name for name in CATEGORIES}


@dataclass(frozen=True, slots=True)
class Snippet:
    """A task with its solution, which is empty where there is none; `place` is its row, from 1."""

    place: int
    instruction: str
    code: str


def extract_features(settings: Snippets, interview: Interview, path: Path) -> FeatureTree:
    """The merged features of all snippets, each counted by snippets. The table at `path` keeps the answers."""
    total = sum(1 for _ in read_snippets(settings))

    def dialogues() -> Iterator[tuple[str, Dialogue[Paths] | FeatureAnswer]]:
        for row in read_snippets(settings):
            key = f"{row.place:09d}"
            yield key, FeatureAnswer(key, (), row.reason) if isinstance(row, BadRow) else _ask(row)

    tree = FeatureTree()
    for answer in hold_dialogues(interview, path, dialogues(), total, "feature extraction"):
        tree.merge(tree_from_leaves(answer.features))
    if not tree.root.children:
        raise InputError(
            f"none of the {total} rows of {settings.path} gave features; why is in the column `reason` of {path}"
        )
    return tree


def read_snippets(settings: Snippets) -> Iterator[Snippet | BadRow]:
    """The snippets of the file, and the rows that are none."""
    for number, row in enumerate(read_rows(settings.path)):
        if settings.limit is not None and number >= settings.limit:
            return
        if isinstance(row, BadRow):
            yield row
            continue
        place, values = row[0].number, row[1]
        try:
            instruction = _text(values, settings.instruction)
            code = "" if settings.code is None else _text(values, settings.code)
        except ValueError as error:
            yield BadRow(place, str(error))
            continue
        length = len(instruction) + len(code)
        if length > settings.maximum_characters:
            reason = f"{length} characters, more than maximum_characters ({settings.maximum_characters})"
            yield BadRow(place, reason)
        else:
            yield Snippet(place, instruction, code)


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
    try:
        tree = tree_from_nested(by_category)
    except TreeError as error:
        raise AnswerError(str(error)) from error
    features = tuple(leaf for leaf in tree.leaves() if "/" in leaf)
    if not features:
        raise AnswerError("there is no feature below any category")
    return features


def _ask(snippet: Snippet) -> Dialogue[Paths]:
    categories = [{"name": name, "meaning": meaning} for name, meaning in CATEGORIES.items()]
    messages = render(
        "extract_features", categories=categories, instruction=snippet.instruction.strip(), code=snippet.code.strip()
    )
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
