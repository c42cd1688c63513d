"""YAML 1.2 with places: what scalars mean, what is refused, how trees merge."""

import math

import pytest

from xcoder_core.errors import InputError
from xcoder_core.yaml_source import Flaw, merge, read_override, read_yaml, read_yaml_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-2", 0.01),
        (".5", 0.5),
        ("-3", -3),
        ("012", 12),
        ("0o17", 15),
        ("0x10", 16),
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_have_their_yaml_1_2_meaning(text: str, value: object) -> None:
    read = read_yaml(f"a: {text}", "f").plain()["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: duplicate key `a`, first given at f:1"),
        ("a: 1\nb: [1", "f:2: not valid YAML"),
        ("a: &a [*a]", "an alias contains itself"),
        ("a: *missing", "undefined alias"),
        ("a: !secret 3", "the tag !secret has no meaning"),
        ("a: !!python/object:os.system {b: 3}", "f:1: the tag !!python/object:os.system has no meaning"),
        ("a: !!binary aGk=", "the tag !!binary has no meaning"),
        ('a: "\\ud800"', "f:1: half of a surrogate pair is no text"),
        ("a: " + "[" * 60 + "]" * 60, "f:1: nested too deeply"),
        ("a: " + "[" * 5000, "f: nested too deeply"),
        ("? [1, 2]\n: 3", "expected a name as key"),
        ("a: 1\n---\nb: 2", "expected one YAML document"),
        ("a:\n\tb: 1", "f:2: not valid YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read_yaml(text, "f")
    assert said in str(error.value)


def test_what_can_be_read_past_is_collected() -> None:
    flaws: list[Flaw] = []
    read = read_yaml("a: 1\na: 2\nb: !secret 3\n? [1]\n: 4\nc: {d: 1, d: 2}\ne: 5", "f", flaws=flaws)
    assert read.plain() == {"a": 1, "b": 3, "c": {"d": 1}, "e": 5}
    assert [flaw.place.line for flaw in flaws] == [2, 3, 4, 6]


def test_aliases_that_multiply_without_bound_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InputError, match="more than 100000 values"):
        read_yaml("\n".join(lines), "f")


def test_merging_goes_deep_and_null_removes() -> None:
    below = read_yaml("a: {x: 1, y: 2}\nb: [1, 2]\nc: 3", "below")
    above = read_yaml("a: {y: 5, z: 6}\nb: [9]\nc: null", "above")
    merged = merge(below, above)
    assert merged.plain() == {"a": {"x": 1, "y": 5, "z": 6}, "b": [9]}
    assert str(merged.nearest(("a", "x")).place) == "below:1"
    assert str(merged.nearest(("a", "z")).place) == "above:1"


def test_an_override_is_a_tree_that_remembers_its_text() -> None:
    tree = read_override("sft.training.learning_rate=1e-4")
    assert tree.plain() == {"sft": {"training": {"learning_rate": 1e-4}}}
    assert str(tree.nearest(("sft", "training")).place) == "override 'sft.training.learning_rate=1e-4'"
    assert read_override("a={b: [1, 2]}").plain() == {"a": {"b": [1, 2]}}
    assert read_override("a=x=y").plain() == {"a": "x=y"}


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=1", "a b=1", "a.b=[1", ".=1", "a.b=", "a= "])
def test_an_override_that_cannot_be_parsed_is_named(text: str) -> None:
    with pytest.raises(InputError) as error:
        read_override(text)
    assert f"override '{text}'" in str(error.value)


def test_a_file_that_is_not_text_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match=r"r\.yaml: cannot be read"):
        read_yaml_file(path)
