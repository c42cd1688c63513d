"""X-Coder's rows load as they are published, and what is no row is set aside with its reason."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from synth.features.stage import read_published_tree, read_xcoder_rows
from synth.features.subtrees import Subtree
from xcoder_core.errors import InputError
from xcoder_core.rows import BadRow

GOOD: dict[str, Any] = {
    "features": {
        "problem type": {
            "subarray manipulation": {"maximum subarray sum": ["Kadane's algorithm", "Divide and Conquer"]}
        },
        "programming_language": ["Python"],
        "optimization": {"nothing here": [], "nor here": {}},
    },
    "mandatory_features": [],
    "idx": 0,
    "leaf_count": 147,
}
LEAVES = (
    "problem type/subarray manipulation/maximum subarray sum/Divide and Conquer",
    "problem type/subarray manipulation/maximum subarray sum/Kadane's algorithm",
)


def row(index: Any, **changed: Any) -> dict[str, Any]:
    return {
        "features": {"a": {"b": [f"leaf {index}"]}},
        "mandatory_features": [],
        "idx": index,
        "leaf_count": 1,
        **changed,
    }


def write_lines(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_published_row_is_a_subtree_without_language_and_empty_branches(tmp_path: Path) -> None:
    shaped = {**row(7), "shape": [3, 3, 1]}
    del shaped["mandatory_features"]
    rows = list(read_xcoder_rows(write_lines(tmp_path / "rows.jsonl", [GOOD, "", shaped])))
    assert rows == [Subtree(0, LEAVES), Subtree(7, ("a/b/leaf 7",))]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_json_array_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps([GOOD, row(1), 3], indent=1))
    assert list(read_xcoder_rows(tmp_path / name)) == [
        Subtree(0, LEAVES),
        Subtree(1, ("a/b/leaf 1",)),
        BadRow(3, "expected an object, found 3"),
    ]


@pytest.mark.parametrize("as_text", [True, False])
def test_parquet_rows_are_read_with_features_as_text_or_nested(tmp_path: Path, as_text: bool) -> None:
    rows = [GOOD, row(1)]
    if as_text:
        rows = [{**one, "features": json.dumps(one["features"])} for one in rows]
    else:  # nested columns hold the keys of all rows, null where a row lacks them
        rows[0] = {**GOOD, "features": {"problem type": GOOD["features"]["problem type"]}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert list(read_xcoder_rows(tmp_path / "rows.parquet")) == [Subtree(0, LEAVES), Subtree(1, ("a/b/leaf 1",))]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"features": {', "not valid JSON"),
        ("[1]", "expected an object"),
        ({"idx": 1}, "`features` is missing"),
        (row(None), "`idx` is missing"),
        (row("1"), "`idx` must be a whole number"),
        (row(True), "`idx` must be a whole number"),
        (row(-1), "`idx` must be a whole number"),
        (row(1, features=["a"]), "expected an object whose keys are categories"),
        (row(1, features="no json"), "not valid JSON"),
        (row(1, features={"a": {"b": [1]}}), "below `a/b`"),
        (row(1, features={"a": {"b": []}}), "holds no feature"),
        (row(1, features={"programming language": ["C++"]}), "holds no feature"),
        (row(1, mandatory_features="x"), "must be a list"),
        (row(1, mandatory_features=["x"]), "'x' is not among the features"),
        (row(0), "the idx 0"),
        ({**GOOD, "idx": 1}, "the same features"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason_and_the_rest_is_read(
    tmp_path: Path, bad: Any, reason: str
) -> None:
    first, second, third = read_xcoder_rows(write_lines(tmp_path / "rows.jsonl", [{**GOOD}, bad, row(2)]))
    assert first == Subtree(0, LEAVES)
    assert isinstance(second, BadRow)
    assert second.place == 2
    assert reason in second.reason
    assert third == Subtree(2, ("a/b/leaf 2",))


def test_mandatory_features_are_found_by_name_or_path(tmp_path: Path) -> None:
    named = {**GOOD, "mandatory_features": ["kadane", LEAVES[1]]}
    (subtree,) = read_xcoder_rows(write_lines(tmp_path / "rows.jsonl", [named]))
    assert isinstance(subtree, Subtree)
    assert subtree.mandatory == (LEAVES[1],)


def test_a_pointer_of_git_lfs_is_named_as_what_it_is(tmp_path: Path) -> None:
    pointer = ["version https://git-lfs.github.com/spec/v1", "oid sha256:33d3", "size 149441273"]
    with pytest.raises(InputError, match="git lfs pull"):
        list(read_xcoder_rows(write_lines(tmp_path / "rows.jsonl", pointer)))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_a_file_of_another_format_or_none_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist; expected rows"):
        list(read_xcoder_rows(tmp_path / name))
    (tmp_path / name).write_bytes(b"[\xff\xfe")
    with pytest.raises(InputError, match=name):
        list(read_xcoder_rows(tmp_path / name))


def test_the_published_tree_is_read_without_language_and_empty_branches(tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(json.dumps(GOOD["features"]))
    assert tuple(read_published_tree(tmp_path / "tree.json").leaves()) == LEAVES
    for text in ("[]", "{", '{"a": 3}', "version https://git-lfs.github.com/spec/v1"):
        (tmp_path / "tree.json").write_text(text)
        with pytest.raises(InputError, match="tree.json is not a feature tree"):
            read_published_tree(tmp_path / "tree.json")
