"""The stages of features: the tree from its source, evolved, and the subtrees that tasks are made from.

The folder of features holds `extracted.parquet` and `round-<n>.parquet` (the model's answers), `tree.json`,
`features.json` (counts for the report), and for X-Coder's rows `bad_rows.parquet` (what was set aside).

A row of X-Coder's published files is `{"features": nested objects whose leaves are lists of strings,
"mandatory_features": [...], "idx": int, "leaf_count": int}`; later files add `"shape"`, and `mandatory_features` may be
missing. `features` may be JSON text.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from synth.features.config import FeatureSettings, Snippets
from synth.features.questions import FeatureAnswer, evolve_features, extract_features
from synth.features.subtrees import Subtree, digest, draw_subtrees
from synth.features.tree import FeatureTree, TreeError, normal_form, read_tree, seed_tree, tree_from_nested, write_tree
from synth.language_model.dialogue import Interview
from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import BadRow, JsonError, read_json, read_rows

LANGUAGE_CATEGORY = "programming language"
"""A category that says nothing of the task; X-Coder's own sampler drops it too."""


def given_tree(settings: FeatureSettings) -> FeatureTree | None:
    """A copy of the tree that the source names; None where it is extracted, or the source has rows."""
    source = settings.source
    if source.kind == "tree":
        return read_tree(source.path)
    if source.kind == "xcoder_tree":
        return read_published_tree(source.path)
    return seed_tree() if source.kind == "builtin" else None


def needs_model(settings: FeatureSettings) -> bool:
    """True where features are extracted or evolved, which only a language model can do."""
    return isinstance(settings.source, Snippets) or settings.evolution.rounds > 0


def make_features(settings: FeatureSettings, interview: Interview | None, folder: Path, seed: int) -> None:
    """Make the feature tree in the folder; a killed run goes on. `interview` may be None unless `needs_model`."""
    if (folder / "features.json").exists():
        return
    if settings.source.kind == "xcoder_rows":
        write_json(folder / "features.json", {"rows": _check_rows(settings.source.path, folder)})
        return
    if interview is None and needs_model(settings):
        raise InputError("features that are extracted or evolved need a language model as the teacher")
    tree = given_tree(settings)
    if tree is None:
        assert isinstance(settings.source, Snippets) and interview is not None
        tree = extract_features(settings.source, interview, folder / "extracted.parquet")
    before = tree.counts()
    if interview is not None:
        evolve_features(tree, settings.evolution, interview, folder, seed)
    write_tree(folder / "tree.json", tree)
    write_json(folder / "features.json", _summary(before, tree, folder))


def subtrees(settings: FeatureSettings, folder: Path, count: int, seed: int) -> Iterator[Subtree]:
    """The first `count` subtrees, numbered from 0, of the tree that `make_features` left in the folder.

    X-Coder's rows are subtrees as they are, in the order of their file. Raises `InputError` where there are too few.
    """
    if settings.source.kind != "xcoder_rows":
        yield from draw_subtrees(read_tree(folder / "tree.json"), settings.shape, count, seed)
        return
    rows = (row for row in read_xcoder_rows(settings.source.path) if isinstance(row, Subtree))
    usable = 0
    for row in islice(rows, count):
        yield replace(row, index=usable)
        usable += 1
    if usable < count:
        raise InputError(
            f"{settings.source.path} has {usable:,} usable rows, and {count:,} tasks were asked for. Ask for fewer "
            f"tasks or add rows; {folder / 'bad_rows.parquet'} has the rows that were set aside, and why."
        )


def _check_rows(path: Path, folder: Path) -> dict[str, int]:
    """Read all rows once; keep the bad ones with their reason and count the others."""
    counts = {"used": 0, "quarantined": 0}

    def bad_rows() -> Iterator[BadRow]:
        for row in read_xcoder_rows(path):
            counts["quarantined" if isinstance(row, BadRow) else "used"] += 1
            if isinstance(row, BadRow):
                yield row

    write_records(folder / "bad_rows.parquet", BadRow, bad_rows(), ("place",))
    return counts


def _summary(before: dict[str, int], tree: FeatureTree, folder: Path) -> dict[str, object]:
    after = tree.counts()
    answered = [*folder.glob("extracted.parquet"), *sorted(folder.glob("round-*.parquet"))]
    tables = {path.stem: _outcomes(path) for path in answered}
    categories = {name: {"extracted": before.get(name, 0), "evolved": after[name]} for name in after}
    return {"questions": tables, "categories": categories, "leaves": sum(1 for _ in tree.leaves())}


def _outcomes(path: Path) -> dict[str, int]:
    used = bad = features = 0
    for answer in read_records(path, FeatureAnswer):
        used += answer.reason is None
        bad += answer.reason is not None
        features += len(answer.features)
    return {"used": used, "quarantined": bad, "features": features}


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
