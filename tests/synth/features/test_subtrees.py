"""Subtrees have the shape that was asked for, never repeat, and depend on nothing but tree, settings and seed."""

from itertools import islice

import pytest
from pydantic import ValidationError

from synth.features.config import ShapeSettings
from synth.features.subtrees import draw_subtrees
from synth.features.tree import FeatureTree, seed_tree, tree_from_leaves, tree_from_nested
from xcoder_core.errors import InputError

SEED = seed_tree()


def regular_tree(categories: int, branches: int, leaves: int) -> FeatureTree:
    return tree_from_nested(
        {
            f"c{c}": {f"b{b}": [f"leaf {c} {b} {leaf}" for leaf in range(leaves)] for b in range(branches)}
            for c in range(categories)
        }
    )


def test_every_subtree_has_the_shape_and_only_leaves_of_the_tree() -> None:
    shape = ShapeSettings(root=(2, 4), inner=(1, 3), leaves=(1, 2), minimum_leaves=6, maximum_leaves=16)
    known = set(SEED.leaves())
    widths: dict[str, set[int]] = {"root": set(), "inner": set(), "leaves": set()}
    for index, subtree in enumerate(draw_subtrees(SEED, shape, 300, seed=3)):
        assert subtree.index == index
        assert set(subtree.leaves) <= known
        assert 6 <= len(subtree.leaves) <= 16
        tree = tree_from_leaves(subtree.leaves)
        widths["root"].add(len(tree.children))
        for _, node in tree.nodes():
            inner = sum(bool(child.children) for child in node.children.values())
            widths["inner"].add(inner)
            widths["leaves"].add(len(node.children) - inner)
    assert widths["root"] == {2, 3, 4}
    assert widths["inner"] == {0, 1, 2, 3}
    assert widths["leaves"] == {0, 1, 2}


def test_no_two_subtrees_of_a_run_have_the_same_leaves() -> None:
    tree = regular_tree(2, 3, 4)  # root and inner fixed at all: 4^6 = 4096 subtrees of one leaf a branch
    shape = ShapeSettings(root=(2, 2), inner=(3, 3), leaves=(1, 1), minimum_leaves=6)
    drawn = [subtree.leaves for subtree in draw_subtrees(tree, shape, 3500, seed=1)]
    assert len(set(drawn)) == 3500


def test_a_longer_run_begins_with_the_shorter_one_and_another_seed_is_another_run() -> None:
    shape = ShapeSettings()
    short = list(draw_subtrees(SEED, shape, 50, seed=5))
    assert list(islice(draw_subtrees(SEED, shape, 5000, seed=5), 50)) == short
    assert {one.leaves for one in draw_subtrees(SEED, shape, 50, seed=6)}.isdisjoint(one.leaves for one in short)


def test_the_order_in_which_a_tree_was_merged_changes_no_subtree() -> None:
    reversed_tree = FeatureTree()
    for leaf in reversed(list(SEED.leaves())):
        reversed_tree.merge(tree_from_leaves([leaf]))
    shape = ShapeSettings()
    assert list(draw_subtrees(reversed_tree, shape, 20, 1)) == list(draw_subtrees(SEED, shape, 20, 1))


def test_features_that_were_met_often_are_drawn_often_when_asked() -> None:
    tree = regular_tree(1, 1, 10)
    for _ in range(89):
        tree.grow("c0/b0/leaf 0 0 0")
    share = {}
    for by_count in (False, True):
        shape = ShapeSettings(root=(1, 1), inner=(1, 1), leaves=(3, 3), minimum_leaves=3, by_count=by_count)
        drawn = [subtree.leaves for subtree in islice(draw_subtrees(tree, shape, 30, seed=2), 30)]
        share[by_count] = sum("c0/b0/leaf 0 0 0" in leaves for leaves in drawn) / 30
    assert share[False] < 0.6 < 0.9 < share[True]


def test_a_tree_that_cannot_give_the_leaves_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"at most 4 leaves .* minimum_leaves 5"):
        next(draw_subtrees(regular_tree(2, 2, 1), ShapeSettings(minimum_leaves=5), 1, seed=0))
    with pytest.raises(InputError, match="at most 0 leaves"):
        next(draw_subtrees(FeatureTree(), ShapeSettings(), 1, seed=0))


def test_a_tree_with_too_few_subtrees_gives_all_it_has_and_then_says_so() -> None:
    tree = regular_tree(1, 2, 3)
    shape = ShapeSettings(root=(1, 1), inner=(2, 2), leaves=(1, 1), minimum_leaves=2)
    drawn = set()
    with pytest.raises(
        InputError, match=r"too small for 10 different subtrees: after 9 of them, 1000 draws gave 1000 rep"
    ):
        for subtree in draw_subtrees(tree, shape, 10, seed=4):
            drawn.add(subtree.leaves)
    assert len(drawn) == 9


@pytest.mark.parametrize(
    "shape", [{"root": [0, 2]}, {"inner": [3, 2]}, {"minimum_leaves": 9, "maximum_leaves": 8}, {"leaves": [1]}]
)
def test_a_shape_without_meaning_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ShapeSettings.model_validate(shape)
