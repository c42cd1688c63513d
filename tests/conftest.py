"""No test reads or writes what is the user's: each has a working folder and a home of its own.

A test that touches the checkout's `runs/` or `wandb/`, or the user's caches, from its own process fails at once. What
its child processes do is seen by `test_isolation.py`, which runs the whole suite where these places are poisoned.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
USERS_HOME = Path.home()
# Where libraries keep things unless these are set; without them everything follows HOME.
PREFIXES = ("HF_", "WANDB_", "XDG_", "TRANSFORMERS_")
NAMES = (
    "TORCH_HOME",
    "MPLCONFIGDIR",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "VLLM_CACHE_ROOT",
    "VLLM_CONFIG_ROOT",
)
FORBIDDEN = tuple(f"{place}{os.sep}" for place in (CHECKOUT / "runs", CHECKOUT / "wandb"))
AT_HOME = tuple(f"{USERS_HOME / name}{os.sep}" for name in (".cache", ".config", ".local/share", "wandb", ".netrc"))
TOUCHES = frozenset(
    ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
)

_touched: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in TOUCHES and arguments and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(arguments[0])) + os.sep
        if path.startswith(FORBIDDEN) or path.startswith(AT_HOME) and not path.startswith(sys.prefix):
            _touched.append(f"{event} {path[:-1]}")


def pytest_configure(config: pytest.Config) -> None:
    """Before the first library is imported: many read their folders from the environment once."""
    for name in [*os.environ]:
        if name.startswith(PREFIXES) or name in NAMES:
            del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="xcoder-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["HOME"] = home.name
    # The list of the machine's fonts takes seconds to make, and is no state of any test.
    os.environ["MPLCONFIGDIR"] = str(Path(home.name) / "matplotlib")
    # Ray keeps its sessions in a folder that the first account on the machine makes for all; sockets need a short path.
    os.environ["RAY_TMPDIR"] = home.name
    # TRL, vLLM and Ray report to their makers, in the background; a test asks nothing of any network.
    os.environ |= {"DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder and a home for this test alone."""
    own = tmp_path_factory.mktemp("own")
    for name in ("home", "work"):
        (own / name).mkdir()
    monkeypatch.setenv("HOME", str(own / "home"))
    monkeypatch.chdir(own / "work")
    _touched.clear()
    yield
    assert not _touched, f"this test touched what is the user's: {_touched[:5]}"
