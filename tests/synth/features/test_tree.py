"""Trees merge by what names mean, count what was met, and come out the same whatever the order."""

import itertools
import time
from pathlib import Path

import pytest

from synth.features.tree import (
    FeatureTree,
    TreeError,
    normal_form,
    read_tree,
    tree_from_leaves,
    tree_from_nested,
    write_tree,
)
from xcoder_core.errors import InputError

FIRST = {"algorithm": {"graph": {"shortest path": ["Dijkstra", "BFS"]}, "sorting": ["merge sort"]}}
SECOND = {"Algorithms": {"Graphs": {"Shortest  paths": ["dijkstra's algorithm", "Johnson"], "cycle": []}}}


@pytest.mark.parametrize(
    "names",
    [
        ("Dijkstra", "dijkstra's algorithm", "DIJKSTRA", "Dijkstra’s  Algorithm"),
        ("breadth-first search", "Breadth First Searches", "BFS", "breadth‑first  search"),
        ("disjoint set union", "DSU", "Union-Find", "disjoint sets union"),
        ("Fenwick tree", "binary indexed trees", "Binary-Indexed Tree"),
        ("prefix sum", "Prefix Sums", "prefix-sum technique"),
        ("O(n log n)", "O(N * log(N))", "o( n log n )"),
        ("O(n^2)", "O(n²)", "O(N**2)"),
        ("vertex", "Vertices"),
        ("bitmask DP", "dynamic programming over bitmasks", "DP with bitmask"),
        ("query", "queries"),
        ("cache size", "cache sizes", "caches size"),
        ("hash match", "hashes  matches"),
    ],
)
def test_spellings_of_one_feature_have_one_normal_form(names: tuple[str, ...]) -> None:
    assert len({normal_form(name) for name in names}) == 1


@pytest.mark.parametrize(
    "pair",
    [
        ("stack", "queue"),
        ("O(n)", "O(n^2)"),
        ("O(n log n)", "O(n log^2 n)"),
        ("O(n + m)", "O(nm)"),
        ("maximum", "minimum"),
        ("two-dimensional prefix sums", "prefix sums"),
        ("0-1 BFS", "BFS"),
        ("DFS", "BFS"),
        ("segment tree", "segment trees with lazy propagation"),
        ("bus", "bu"),
        ("class", "clas"),
    ],
)
def test_different_features_stay_different(pair: tuple[str, str]) -> None:
    assert normal_form(pair[0]) != normal_form(pair[1])


def test_a_name_of_nothing_but_marks_holds_nobody_up() -> None:
    began = time.process_time()
    assert normal_form("." * 50_000 + "x") == "." * 50_000 + "x"
    assert time.process_time() - began < 2


def test_merging_unites_spellings_under_the_first_name_and_adds_the_counts() -> None:
    tree = tree_from_nested(FIRST)
    tree.merge(tree_from_nested(SECOND))
    shortest = [f"algorithm/graph/shortest path/{name}" for name in ("BFS", "Dijkstra", "Johnson")]
    assert set(tree.leaves()) == {"algorithm/graph/cycle", *shortest, "algorithm/sorting/merge sort"}
    counts = {path: node.count for path, node in tree.nodes()}
    assert counts["algorithm/graph/shortest path/Dijkstra"] == 2
    assert counts["algorithm/graph/shortest path/Johnson"] == 1
    assert counts["algorithm/graph"] == 2
    assert counts["algorithm/sorting"] == 1


def test_two_spellings_in_one_tree_count_once() -> None:
    tree = tree_from_nested({"algorithm": ["BFS", "breadth-first search"]})
    assert [(path, node.count) for path, node in tree.nodes()] == [("algorithm", 1), ("algorithm/BFS", 1)]
    tree = tree_from_leaves(["algorithm/graph/BFS", "algorithm/graph/DFS"])
    assert {node.count for _, node in tree.nodes()} == {1}


def test_the_order_of_merging_changes_no_count_and_no_order() -> None:
    parts = [FIRST, SECOND, {"complexity": ["O(n)"], "algorithm": ["sorting"]}]
    shapes = set()
    for order in itertools.permutations(parts):
        tree = FeatureTree()
        for part in order:
            tree.merge(tree_from_nested(part))
        shapes.add(tuple((tuple(map(normal_form, path.split("/"))), node.count) for path, node in tree.nodes()))
    assert len(shapes) == 1


def test_leaves_are_paths_and_a_slash_in_a_name_does_not_split_it() -> None:
    tree = tree_from_nested({"complexity": {"time": ["O(n/w)"]}, "implementation logic": "fast I/O"})
    leaves = list(tree.leaves())
    assert leaves == ["complexity/time/O(n∕w)", "implementation logic/fast I∕O"]
    again = tree_from_leaves(leaves)
    assert list(again.leaves()) == leaves
    assert again.find("complexity/Time/O(n∕w)") is not None


def test_counts_are_the_features_below_each_category() -> None:
    tree = tree_from_nested({**FIRST, "complexity": []})
    assert tree.counts() == {"algorithm": 6, "complexity": 0}


def test_growing_counts_the_feature_and_not_those_above_it() -> None:
    tree = tree_from_nested(FIRST)
    tree.grow("algorithm/sorting/Heap Sort")
    tree.grow("algorithm/sorting/heapsort")
    node = tree.find("algorithm/sorting/heap sort")
    above = tree.find("algorithm/sorting")
    assert node is not None and node.count == 2 and node.name == "Heap Sort"
    assert above is not None and above.count == 1
    with pytest.raises(ValueError, match="no feature 'algorithm/searching'"):
        tree.grow("algorithm/searching/bisection")


def test_a_tree_survives_its_file_and_equal_trees_are_equal_bytes(tmp_path: Path) -> None:
    tree = tree_from_nested(FIRST)
    tree.merge(tree_from_nested(SECOND))
    write_tree(tmp_path / "one.json", tree)
    again = read_tree(tmp_path / "one.json")
    assert again == tree
    shuffled = FeatureTree()
    for path in reversed(list(tree.leaves())):
        shuffled.merge(tree_from_leaves([path]))
    for path, node in tree.nodes():
        found = shuffled.find(path)
        assert found is not None
        found.count = node.count
    write_tree(tmp_path / "two.json", shuffled)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize("text", ["", "{", '[{"name": "a"}]', '[{"name": "a", "count": "x"}]', "[3]", "3"])
def test_a_file_that_is_no_tree_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tree.json").write_text(text)
    with pytest.raises(InputError, match="tree.json is not a feature tree"):
        read_tree(tmp_path / "tree.json")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["a"], "categories"),
        ({"a": 3}, "below `a`, found 3"),
        ({"a": b"bytes"}, "below `a`, found"),
        ({"a": {"b": [["c"]]}}, "below `a/b`"),
        ({"a": ["..."]}, "names no feature"),
        ({"a": ["x" * 300]}, "300 characters"),
        ({"": ["x"]}, "names no feature"),
        ({"a": ["b\0c"]}, "cannot be shown"),
    ],
)
def test_values_that_are_no_tree_are_refused_with_their_place(value: object, said: str) -> None:
    with pytest.raises(TreeError, match=said):
        tree_from_nested(value)


def test_values_that_are_nested_without_end_are_refused() -> None:
    value: dict[str, object] = {}
    for _ in range(500):
        value = {"a": value}
    with pytest.raises(TreeError, match="more than 12 levels"):
        tree_from_nested(value)
