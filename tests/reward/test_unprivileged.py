"""Neither corpus needs root: user nobody gets the same from the judge, at every tier that user nobody can form."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward.tiers import TIERS
from tests.reward.corpora import ATTACKS
from tests.reward.unprivileged import environment_for_anybody, run_as_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="everything runs as an unprivileged user already")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
# Where this copy is private, an installed one may be imported instead.
PROBE = f"import os, numpy, pydantic, pytest, reward.judge; os.listdir({str(ROOT)!r})"
FORMED = "from reward.tiers import TIERS, why_not; print(*(tier for tier in TIERS if why_not(tier) is None))"


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    """A Python with the project's packages that user nobody can run."""
    with tempfile.TemporaryDirectory(prefix="environment-") as folder:  # pytest's own folders are private
        os.chmod(folder, 0o755)
        python = environment_for_anybody(Path(folder))
        if python is None:
            pytest.skip("there is no Python of this version that user nobody can run")
        probe = run_as_nobody([python, "-c", PROBE], ENVIRONMENT)
        if probe.returncode != 0:
            pytest.skip(f"user nobody cannot import the project with {python}: {probe.stderr[-500:]}")
        yield python


@pytest.fixture(scope="module")
def tiers(python: str) -> list[str]:
    """Those that user nobody can form."""
    formed = run_as_nobody([python, "-c", FORMED], ENVIRONMENT).stdout.split()
    if not formed:
        pytest.skip("user nobody can form no tier here")
    return formed


def passed_by_tier(python: str, file: str, tiers: list[str]) -> Counter[str]:
    """Run a file's tests on `tiers` as user nobody, all of which must pass: how many did, by tier."""
    chosen = " or ".join(f"[{tier}" for tier in tiers)
    command = [python, "-m", "pytest", "-rp", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    run = run_as_nobody([*command, str(ROOT / "tests" / "reward" / file), "-k", chosen], ENVIRONMENT)
    assert run.returncode == 0, run.stdout.partition(" FAILURES ")[2][:5000] or run.stdout + run.stderr
    return Counter(re.findall(rf"^PASSED \S+{file}::\w+\[([{''.join(TIERS)}])[-\]]", run.stdout, re.MULTILINE))


def test_attacks_are_held_at_every_tier(python: str, tiers: list[str]) -> None:
    passed = passed_by_tier(python, "test_attacks.py", tiers)
    assert set(passed) == set(tiers)
    assert min(passed.values()) > len(ATTACKS)


def test_every_tier_stops_what_it_says(python: str, tiers: list[str]) -> None:
    assert set(passed_by_tier(python, "test_tiers.py", tiers)) == set(tiers)


@pytest.mark.slow
def test_honest_programs_run_at_the_strongest_tier(python: str, tiers: list[str]) -> None:
    assert passed_by_tier(python, "test_honest_programs.py", tiers[:1]) == {tiers[0]: 1}


@pytest.mark.slow
def test_honest_programs_run_at_every_tier(python: str, tiers: list[str]) -> None:
    assert passed_by_tier(python, "test_honest_programs.py", tiers) == dict.fromkeys(tiers, 1)
