"""The tests notice when the project is broken, one place after another."""

from pathlib import Path

import pytest

from tests.mutations import ROOT, Mutation, MutationError, apply, check_noticed, check_unbroken, read_tables

MUTATIONS = read_tables()
TINY = Mutation("tiny", "none", "", "file.py", "a = 1", "a = 2", ())


@pytest.fixture(scope="module")
def unbroken() -> None:
    check_unbroken(MUTATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.full_name)
def test_mutation_is_noticed(mutation: Mutation, unbroken: None) -> None:
    check_noticed(mutation)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.full_name)
def test_mutation_still_applies(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutation.tests)


@pytest.mark.parametrize(("text", "found"), [("b = 1", 0), ("a = 1\na = 1", 2)])
def test_mutation_that_is_out_of_date_is_an_error(tmp_path: Path, text: str, found: int) -> None:
    (tmp_path / "file.py").write_text(text)
    with pytest.raises(MutationError, match=f"tiny:none is out of date: its old text stands {found} times"):
        apply(TINY, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("new", "tests", "said"),
    [
        ("MAX_DEPTH = 199", ("tests/reward/test_compare.py",), "is not noticed"),
        ("MAX_DEPTH = (", ("tests/reward/test_compare.py",), "pytest ends with 2"),
        ("MAX_DEPTH = 199", ("tests/reward/test_compare.py::test_nothing",), "pytest ends with 4"),
    ],
)
def test_what_no_test_fails_on_does_not_count_as_noticed(new: str, tests: tuple[str, ...], said: str) -> None:
    mutation = Mutation("tiny", "depth", "", "reward/compare.py", "MAX_DEPTH = 200", new, tests)
    with pytest.raises(MutationError, match=said):
        check_noticed(mutation)
