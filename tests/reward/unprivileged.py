"""Running this project as a user without any rights: user nobody, and a Python that this user can run."""

import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}


def run_as_nobody(command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command as user nobody. Raises `OSError` where that user cannot."""
    return subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, **NOBODY)


@cache
def python_for_anybody() -> str | None:
    """A Python of the running one's version that every user can run: this one, or the system's; None without any."""
    if os.geteuid() != 0:
        return sys.executable
    version = ".".join(map(str, sys.version_info[:2]))
    for python in (sys.executable, f"/usr/local/bin/python{version}", f"/usr/bin/python{version}"):
        try:
            if run_as_nobody([python, "-c", "import json"], {}).returncode == 0:
                return python
        except OSError:
            continue
    return None


def environment_for_anybody(folder: Path) -> str | None:
    """A virtual environment in `folder` of that Python with the packages of the running one; its interpreter."""
    python = python_for_anybody()
    if python is None or python == sys.executable:
        return python
    packages = Path(sysconfig.get_path("platlib"))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(python)
    (folder / "lib" / packages.parent.name).mkdir(parents=True)
    (folder / "lib" / packages.parent.name / packages.name).symlink_to(packages)
    return str(folder / "bin" / "python")
