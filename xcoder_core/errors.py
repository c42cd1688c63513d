"""The errors that reach a person, and the exit code that each one ends a command with.

Exit codes: 0 done, 1 a fault of ours, 2 the user's input is wrong, 3 the environment lacks something, or failed.
A message says what is wrong, where, what was expected, and how to mend it.
"""

import importlib.metadata
import shlex
from collections.abc import Iterator
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]


class XcoderError(Exception):
    """Base of every error that is shown as a message instead of a traceback."""

    exit_code = 1


class InputError(XcoderError, ValueError):
    """What the user gave (recipe, file, option) is wrong; nothing was changed."""

    exit_code = 2


class EnvironmentLacks(XcoderError, RuntimeError):
    """The machine lacks something the command needs: isolation, disk, a package, a server."""

    exit_code = 3


class Terminated(KeyboardInterrupt):
    """A SIGTERM (a scheduler's, `kill`): ends work in order as an interrupt does."""


class InfrastructureError(XcoderError, RuntimeError):
    """What a run stands on failed (a sandbox died, a server is away). Never a verdict on a program."""

    exit_code = 3


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the one behind it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def install_command(extra: str) -> str:
    """What installs an extra of this project. No package index has the project, so it is installed from its clone."""
    if not (_CLONE / "pyproject.toml").is_file():
        return f"pip install {shlex.quote(f'.[{extra}]')} in a clone of the project"
    place = "." if Path.cwd() == _CLONE else str(_CLONE)
    return f"pip install -e {shlex.quote(f'{place}[{extra}]')}"


def installed_version(package: str) -> str | None:
    """The version of a package that is installed here; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
