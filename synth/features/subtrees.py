"""Subtrees of the feature tree, one for each task, drawn by a shape that says how many branches and leaves to keep
(X-Coder, section 3).

Subtree `i` depends on the tree, the settings, the seed and the subtrees before it, but not on how many are drawn, so a
longer run begins with the subtrees of a shorter one. No two subtrees of a run have the same leaves.
"""

import hashlib
import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from synth.features.config import Range, ShapeSettings
from synth.features.tree import FeatureTree
from xcoder_core.errors import InputError
from xcoder_core.seeds import derive_seed

Item = TypeVar("Item")

MAXIMUM_DRAWS = 1000
"""Draws for one subtree. Where so many in a row are repeats or of the wrong size, the tree has hardly any left."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """The features that one task may draw on: paths of leaves, sorted. `mandatory` ones are to be used."""

    index: int
    leaves: tuple[str, ...]
    mandatory: tuple[str, ...] = ()


@dataclass(slots=True)
class _Branch:
    """A node made ready for drawing: its children with and without children of their own, each with its weight."""

    inner: "list[tuple[_Branch, int]]" = field(default_factory=list)
    leaves: list[tuple[str, int]] = field(default_factory=list)


def draw_subtrees(tree: FeatureTree, shape: ShapeSettings, count: int, seed: int) -> Iterator[Subtree]:
    """Yield `count` different subtrees, in order of their index. Raises `InputError` where the tree holds too few."""
    root = _branch(tree, "")
    most = _most_leaves(root, shape, shape.root[1])
    if most < shape.minimum_leaves:
        raise InputError(
            f"the feature tree gives at most {most} leaves in one subtree of this shape, fewer than minimum_leaves "
            f"{shape.minimum_leaves}. Lower minimum_leaves, widen root, inner or leaves, or use a larger tree."
        )
    seen: set[int] = set()
    for index in range(count):
        yield _draw_new(root, shape, index, count, seed, seen)


def _draw_new(root: _Branch, shape: ShapeSettings, index: int, count: int, seed: int, seen: set[int]) -> Subtree:
    rng = random.Random(derive_seed(seed, "subtree", index))
    repeats = small = large = 0
    for _ in range(MAXIMUM_DRAWS):
        leaves: list[str] = []
        _draw(root, shape, shape.root, rng, leaves)
        if len(leaves) < shape.minimum_leaves:
            small += 1
            continue
        if shape.maximum_leaves is not None and len(leaves) > shape.maximum_leaves:
            large += 1
            continue
        leaves.sort()
        key = digest(leaves)
        if key not in seen:
            seen.add(key)
            return Subtree(index, tuple(leaves))
        repeats += 1
    raise InputError(
        f"the feature tree is too small for {count:,} different subtrees: after {index:,} of them, {MAXIMUM_DRAWS} "
        f"draws gave {repeats} repeats, {small} with fewer leaves than minimum_leaves ({shape.minimum_leaves}) and "
        f"{large} with more than maximum_leaves ({shape.maximum_leaves}). Ask for fewer tasks, widen root, inner or "
        "leaves, change the limits, or use a larger tree (evolution adds features)."
    )


def _draw(branch: _Branch, shape: ShapeSettings, width: Range, rng: random.Random, into: list[str]) -> None:
    """Draw below one node. A node whose children are of both kinds gives branches and leaves, each in its number."""
    if branch.inner:
        for child in _sample(branch.inner, width, shape.by_count, rng):
            _draw(child, shape, shape.inner, rng, into)
    if branch.leaves:
        into += _sample(branch.leaves, shape.leaves, shape.by_count, rng)


def _sample(weighted: Sequence[tuple[Item, int]], width: Range, by_count: bool, rng: random.Random) -> list[Item]:
    """Different items; by count, each next one by its share of what is left (Efraimidis and Spirakis 2006)."""
    items = [item for item, _ in weighted]
    wanted = min(rng.randint(*width), len(items))
    if wanted == len(items):
        return items
    if not by_count:
        return rng.sample(items, wanted)
    keys = [rng.random() ** (1 / weight) for _, weight in weighted]
    return [items[place] for place in heapq.nlargest(wanted, range(len(items)), key=keys.__getitem__)]


def _branch(node: FeatureTree, path: str) -> _Branch:
    branch = _Branch()
    for child in node.sorted_children():
        below = f"{path}/{child.name}" if path else child.name
        weight = max(child.count, 1)
        if child.children:
            branch.inner.append((_branch(child, below), weight))
        else:
            branch.leaves.append((below, weight))
    return branch


def _most_leaves(branch: _Branch, shape: ShapeSettings, width: int) -> int:
    below = sorted((_most_leaves(child, shape, shape.inner[1]) for child, _ in branch.inner), reverse=True)
    return sum(below[:width]) + min(shape.leaves[1], len(branch.leaves))


def digest(leaves: Sequence[str]) -> int:
    """64 bits for a sorted set of leaves. Of 200,000 sets, two share their bits with odds of one to 10^9."""
    return int.from_bytes(hashlib.blake2b("\n".join(leaves).encode(), digest_size=8).digest(), "big")
