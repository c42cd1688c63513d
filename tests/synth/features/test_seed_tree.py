"""The built-in tree is broad, has the reference's categories, and says nothing twice."""

from collections import Counter

from synth.features.tree import CATEGORIES, SEED_TREE, clean_name, normal_form, seed_tree
from xcoder_core.yaml_source import read_yaml_file

LEAVES = list(seed_tree().leaves())


def written_leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for below in value.values() for leaf in written_leaves(below)]
    assert isinstance(value, list)
    assert all(isinstance(leaf, str) for leaf in value)
    return value


def test_every_category_of_the_reference_has_many_leaves_at_three_to_five_levels() -> None:
    assert [leaf.split("/")[0] for leaf in LEAVES if leaf.count("/") not in (2, 3, 4)] == []
    by_category = Counter(leaf.split("/")[0] for leaf in LEAVES)
    assert set(by_category) == set(CATEGORIES)
    assert len(LEAVES) >= 1300
    assert min(by_category.values()) >= 90


def test_no_leaf_stands_twice_in_any_spelling() -> None:
    written = written_leaves(read_yaml_file(SEED_TREE).plain())
    repeated = [name for name, count in Counter(map(normal_form, written)).items() if count > 1]
    assert repeated == []
    assert len(written) == len(LEAVES)


def test_no_leaf_is_also_a_branch_of_its_category() -> None:
    branches = {(leaf.split("/")[0], normal_form(name)) for leaf in LEAVES for name in leaf.split("/")[1:-1]}
    assert [leaf for leaf in LEAVES if (leaf.split("/")[0], normal_form(leaf.split("/")[-1])) in branches] == []


def test_names_are_short_and_clean() -> None:
    written = written_leaves(read_yaml_file(SEED_TREE).plain())
    assert [name for name in written if len(name) > 60 or clean_name(name) != name.replace("/", "∕")] == []


def test_a_normal_form_is_its_own_normal_form() -> None:
    forms = {normal_form(name) for leaf in LEAVES for name in leaf.split("/")}
    assert {form for form in forms if normal_form(form) != form} == set()
