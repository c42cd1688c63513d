"""The stages of features: the tree from its source, evolved, and the subtrees that tasks are made from.

The folder of features holds `extracted.parquet` and `round-<n>.parquet` (the model's answers), `tree.json`,
`features.json` (counts for the report), and for X-Coder's rows `bad_rows.parquet` (what was set aside).
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from synth.features.config import FeatureSettings, Snippets
from synth.features.questions import FeatureAnswer, evolve_features, extract_features
from synth.features.subtrees import Subtree, draw_subtrees
from synth.features.tree import FeatureTree, read_tree, seed_tree, write_tree
from synth.features.xcoder_rows import read_published_tree, read_xcoder_rows
from synth.language_model.dialogue import Interview
from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import BadRow


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
