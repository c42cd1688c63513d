"""The user's runs, caches and home are none of the tests' business: in one test, and over the whole suite."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
POISON = "A test that reads this takes what is the user's.\n"
PLACES_AT_HOME = (".cache", ".config", ".local", ".netrc", "wandb", "runs")


def test_a_test_and_its_child_processes_work_in_folders_of_their_own() -> None:
    ask = "import os, pathlib; print(os.getcwd(), pathlib.Path.home(), sep='\\n')"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split("\n")
    for place in (Path.cwd(), Path.home()):
        assert str(place) in said and not any(place.iterdir())
        assert not place.is_relative_to(CHECKOUT)


def test_a_test_that_reads_the_runs_of_the_checkout_fails(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "tests").mkdir()
    shutil.copy(CHECKOUT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_it.py").write_text(
        f"import os\n\ndef test_it():\n    os.listdir({str(tmp_path / 'runs')!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "this test touched what is the user's: ['os.listdir" in done.stdout, done.stdout


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """One that user nobody can read, as some tests do; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="isolation-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.timeout(5400)  # the whole suite, on a machine that may have other work
def test_no_test_of_the_whole_suite_touches_the_users_runs_caches_or_home(everybodys_folder: Path) -> None:
    """The default suite passes where these places are files: whoever opens anything below one fails, in any process."""
    checkout, home = everybodys_folder / "checkout", everybodys_folder / "home"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, target)
    for command in (["git", "init", "--quiet"], ["git", "add", "--all", "--force"]):  # a test asks git for the files
        subprocess.run(command, cwd=checkout, check=True)
    home.mkdir()
    poisoned = [checkout / "runs", checkout / "wandb", *(home / name for name in PLACES_AT_HOME)]
    for place in poisoned:
        place.write_text(POISON)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert [place.read_text() for place in poisoned] == [POISON] * len(poisoned)
    assert sorted(place.name for place in home.iterdir()) == sorted(PLACES_AT_HOME)
