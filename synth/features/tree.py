"""The feature tree: categories at the root, ever finer features below, and how often each was found.

Names that mean one feature are one node, shown under the first of them. Case, plural, hyphens, possessives, filler
words and abbreviations make no difference ("Dijkstra's Algorithm", "dijkstra"; "BFS", "breadth-first search"):
`normal_form` is compared and never shown. `names.toml` has the words.
"""

import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from synth.prompts import AnswerError
from xcoder_core.errors import InputError
from xcoder_core.files import write_text
from xcoder_core.yaml_source import read_yaml_file

CATEGORIES = {
    "algorithm": "named algorithms, techniques and pieces of mathematics that a solution uses",
    "data structure": "how data is held while the solution runs",
    "problem type": "what kind of task it is, seen by someone who does not know the solution",
    "implementation logic": "how the program is put together: control flow, state, input and output, edge cases",
    "complexity": "running time, memory, their analysis, and the sizes of input that they allow",
    "optimization": "what makes a working solution faster or smaller",
}
"""Those of X-Coder (arXiv 2601.06953, Table 8), and what each holds."""

MAXIMUM_NAME = 200
"""Characters of a feature's name; what is longer is a sentence."""

MAXIMUM_LEVELS = 12
"""Levels below the root; what is nested deeper is not read."""

_MEANINGS = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))

_SPACING = re.compile(r"[\s\-_‐-―]+")
_POSSESSIVE = re.compile(r"['’]s\b|(?<=s)['’](?=\s|$)")
_FORMULA = re.compile(r"o\((?:[^()]|\([^()]*\))*\)")
# A run counts from its first mark alone, so that a long one is not tried from every mark of it.
_PUNCTUATION = re.compile(r"(?<![\"'`’.,;:?])[\"'`’.,;:?]+(?=\s|$)|(?<!\S)[\"'`’]+")


@lru_cache(maxsize=1 << 18)
def normal_form(name: str) -> str:
    """The name reduced to what it means; empty for a name without content."""
    text = name.replace("²", "^2").replace("³", "^3")  # which the next line would make plain digits
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    formulas = [_squeezed(formula) for formula in _FORMULA.findall(text)]
    text = _FORMULA.sub(" \0 ", text)
    text = _PUNCTUATION.sub(" ", _POSSESSIVE.sub("", text).replace("∕", "/"))
    words = [_singular(word) for word in _SPACING.sub(" ", text).split()]
    words = " ".join(_MEANINGS["abbreviations"].get(word, word) for word in words).split()
    while len(words) > 1 and words[-1] in _MEANINGS["fillers"]:
        words.pop()
    plain = " ".join(words)
    plain = _MEANINGS["synonyms"].get(plain, plain)
    for formula in formulas:
        plain = plain.replace("\0", formula, 1)
    return plain


def clean_name(name: str) -> str:
    """A name as it is shown: one space between words, and a slash that cannot be taken for one between two names."""
    return " ".join(unicodedata.normalize("NFC", name).replace("/", "∕").split())


def _singular(word: str) -> str:
    if word in _MEANINGS["singulars"]:
        return _MEANINGS["singulars"][word]
    if len(word) <= 3 or word in _MEANINGS["not_plural"] or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "os")):
        return word[:-1]
    return word


def _squeezed(formula: str) -> str:
    """A complexity with one way of writing: `O(N * log N)`, `O(n log(n))` and `O(n log n)` are one."""
    inner = formula[2:-1].replace("**", "^").replace("√", "sqrt ")
    inner = re.sub(r"(log|sqrt)\s*\(\s*(\w+)\s*\)", r"\1 \2", inner)
    inner = re.sub(r"[\s*·×]+", " ", inner)
    inner = re.sub(r"\s*([-+/∕^()])\s*", r"\1", inner).strip()
    return f"o({inner})"


class TreeError(AnswerError):
    """Nested values that are no feature tree, whether a model or a file holds them; the message says what and where."""


@dataclass(slots=True)
class FeatureTree:
    """A feature with the finer ones below it, or a whole tree, whose root is no feature and has no name.

    `count` says how many of the merged trees had the feature; `children` are keyed by normal form. Equal sets of merged
    trees give equal files.
    """

    name: str = ""
    count: int = 0
    children: "dict[str, FeatureTree]" = field(default_factory=dict)

    def sorted_children(self) -> "list[FeatureTree]":
        """In the order of their normal forms, which does not depend on the order of merging."""
        return [self.children[form] for form in sorted(self.children)]

    def grow(self, path: str, count: int = 1) -> None:
        """Add the feature at a path, or count it so many times more; the features above it are not counted again."""
        above, _, name = path.rpartition("/")
        node = self.find(above)
        if node is None:
            raise ValueError(f"there is no feature {above!r} above {name!r}")
        _child(node, name).count += count

    def merge(self, other: "FeatureTree") -> None:
        """Add every node of another tree with its count; nodes of the same normal form become one."""
        for path, node in other.nodes():
            self.grow(path, node.count)

    def leaves(self) -> Iterator[str]:
        """Paths of the features without children, such as `algorithm/graph/shortest path/Dijkstra`, sorted."""
        yield from (path for path, node in self.nodes() if not node.children)

    def nodes(self) -> "Iterator[tuple[str, FeatureTree]]":
        """Every node below with its path, each before its children."""
        pending = [(child.name, child) for child in reversed(self.sorted_children())]
        while pending:
            path, node = pending.pop()
            yield path, node
            pending += [(f"{path}/{child.name}", child) for child in reversed(node.sorted_children())]

    def find(self, path: str) -> "FeatureTree | None":
        """The node at a path, in any spelling of its names."""
        node: FeatureTree | None = self
        for name in path.split("/") if path else ():
            node = None if node is None else node.children.get(normal_form(name))
        return node

    def counts(self) -> dict[str, int]:
        """Category to the number of features below it, all levels counted, as the paper's Table 8 counts them."""
        return {category.name: sum(1 for _ in category.nodes()) for category in self.sorted_children()}


def tree_from_nested(value: object) -> FeatureTree:
    """The tree of nested objects, lists and strings, each node counted once.

    A key is a feature and its value holds the finer ones; a list holds names, or objects of them; null and empty values
    hold nothing. Raises `TreeError` for anything else, for a name without content and for too many levels.
    """
    tree = FeatureTree()
    if not isinstance(value, dict):
        raise TreeError("expected an object whose keys are categories")
    _add_nested(tree, value, ())
    return tree


def tree_from_leaves(paths: Iterable[str]) -> FeatureTree:
    """The tree that has these paths and nothing else, each node counted once."""
    tree = FeatureTree()
    for path in paths:
        node = tree
        for name in path.split("/"):
            node = _child(node, name)
            node.count = 1
    return tree


SEED_TREE = Path(__file__).with_name("seed_tree.yaml")
"""The tree that ships with the package, so that a model endpoint is all that synthesis needs."""


def seed_tree() -> FeatureTree:
    """A fresh copy of the built-in tree, each feature counted once."""
    return tree_from_nested(read_yaml_file(SEED_TREE).plain())


def write_tree(path: Path, tree: FeatureTree) -> None:
    """Write the tree as JSON, in one step."""
    write_text(path, json.dumps(_to_json(tree), ensure_ascii=False, indent=1) + "\n")


def read_tree(path: Path) -> FeatureTree:
    """The inverse of `write_tree`; raises `InputError` for any other file."""
    tree = FeatureTree()
    try:
        _read_children(tree, json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a feature tree as synthesis writes it: {error!r}") from error
    return tree


def _child(node: FeatureTree, name: str) -> FeatureTree:
    form = normal_form(name)
    if not form:
        raise TreeError(f"{name!r} names no feature")
    if form not in node.children:
        node.children[form] = FeatureTree(clean_name(name))
    return node.children[form]


def _add_nested(node: FeatureTree, value: object, path: tuple[str, ...]) -> None:
    if len(path) > MAXIMUM_LEVELS:
        raise TreeError(f"more than {MAXIMUM_LEVELS} levels at `{'/'.join(path[:3])}/…`")
    if value is None or value == "":
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            _add_once(node, item, path)
        elif isinstance(item, dict):
            for name, below in item.items():
                _add_nested(_add_once(node, name, path), below, (*path, name))
        else:
            found = json.dumps(item, default=repr)[:60]
            raise TreeError(f"expected names of features {_place(path)}, found {found}")


def _add_once(node: FeatureTree, name: str, path: tuple[str, ...]) -> FeatureTree:
    if len(name) > MAXIMUM_NAME:
        raise TreeError(f"a name of {len(name)} characters {_place(path)}; at most {MAXIMUM_NAME} are a name")
    if not clean_name(name).isprintable():
        raise TreeError(f"{name!r} {_place(path)} holds characters that cannot be shown")
    if not normal_form(name):
        raise TreeError(f"{name!r} {_place(path)} names no feature")
    child = _child(node, name)
    child.count = 1
    return child


def _place(path: tuple[str, ...]) -> str:
    return f"below `{'/'.join(path)}`" if path else "at the root"


def _to_json(node: FeatureTree) -> list[dict[str, object]]:
    values: list[dict[str, object]] = []
    for child in node.sorted_children():
        below = {"children": _to_json(child)} if child.children else {}
        values.append({"name": child.name, "count": child.count, **below})
    return values


def _read_children(node: FeatureTree, children: Any) -> None:
    for value in children:
        child = _child(node, value["name"])
        child.count += int(value["count"])
        _read_children(child, value.get("children", []))
