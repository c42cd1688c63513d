"""X-Coder's published feature files: rows, each a subtree that one task is made from, and the tree they come from.

A row is `{"features": nested objects whose leaves are lists of strings, "mandatory_features": [...], "idx": int,
"leaf_count": int}`; later files add `"shape"`, and `mandatory_features` may be missing. `features` may be JSON text.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.features.subtrees import Subtree, digest
from synth.features.tree import FeatureTree, TreeError, normal_form, tree_from_nested
from xcoder_core.errors import InputError
from xcoder_core.rows import BadRow, JsonError, read_json, read_rows

LANGUAGE_CATEGORY = "programming language"
"""A category that says nothing of the task; X-Coder's own sampler drops it too."""


def read_xcoder_rows(path: Path) -> Iterator[Subtree | BadRow]:
    """The subtree of each row in the order of the file, under the row's own `idx`, and what was set aside.

    A row is set aside where it is malformed, has no features, or repeats the `idx` or the features of an earlier row.
    """
    indices: set[int] = set()
    seen: set[int] = set()
    for row in read_rows(path):
        if isinstance(row, BadRow):
            yield row
            continue
        place, value = row
        try:
            subtree = _subtree(value)
            key = digest(subtree.leaves)
            if subtree.index in indices:
                raise TreeError(f"an earlier row has the idx {subtree.index}")
            if key in seen:
                raise TreeError("an earlier row has the same features")
        except (TreeError, JsonError) as error:
            yield BadRow(place.number, str(error))
            continue
        indices.add(subtree.index)
        seen.add(key)
        yield subtree


def read_published_tree(path: Path) -> FeatureTree:
    """The tree of X-Coder's `feature_evoled.json`, nested JSON. Raises `InputError` for a file that holds none."""
    try:
        return _tree(read_json(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, TreeError, JsonError) as error:
        raise InputError(f"{path} is not a feature tree: {error}") from error


def _subtree(row: dict[str, Any]) -> Subtree:
    for key in ("features", "idx"):
        if row.get(key) is None:
            raise TreeError(f"`{key}` is missing")
    index = row["idx"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise TreeError(f"`idx` must be a whole number from 0, found {str(index)[:40]!r}")
    features = row["features"]
    if isinstance(features, str):
        features = read_json(features)
    if not isinstance(features, dict):
        raise TreeError("`features` must be an object of categories")
    leaves = tuple(_tree(features).leaves())
    if not leaves:
        raise TreeError("`features` holds no feature")
    return Subtree(index, leaves, _mandatory(row.get("mandatory_features"), leaves))


def _tree(features: object) -> FeatureTree:
    if not isinstance(features, dict):
        raise TreeError("expected an object whose keys are categories")
    kept = {name: value for name, value in features.items() if normal_form(name) != LANGUAGE_CATEGORY}
    return tree_from_nested(_without_empty(kept))


def _mandatory(names: object, leaves: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of the mandatory features, which are given by name or path."""
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TreeError("`mandatory_features` must be a list of names")
    by_name = {normal_form(leaf.rpartition("/")[2]): leaf for leaf in leaves}
    by_name |= {normal_form(leaf): leaf for leaf in leaves}
    for name in names:
        if normal_form(name) not in by_name:
            raise TreeError(f"the mandatory feature {name[:60]!r} is not among the features")
    return tuple(sorted({by_name[normal_form(name)] for name in names}))


def _without_empty(value: object) -> object:
    """The value without empty objects, empty lists and nulls, on every level."""
    if isinstance(value, dict):
        pruned = {name: _without_empty(below) for name, below in value.items()}
        return {name: below for name, below in pruned.items() if below not in (None, {}, [], "")}
    return value
