"""What installs an extra: from a clone, never by a name that a package index could give to a stranger."""

import re
import shlex
import subprocess
from pathlib import Path

from xcoder_core.errors import install_command

PROJECT = Path(__file__).parents[1]


def test_no_page_message_or_recipe_installs_the_project_by_name() -> None:
    """`pip install` of the project's bare name, with or without an extra, quoted or not."""
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    by_name = re.compile(
        r"(pip3?|uv|uvx|pipx)\b[^\n`]*\b(install|add|run)\b[^\n`]*\bxcoder[-_]train\b(?!/)" + r"|xcoder[-_]train\[\w"
    )
    read = [PROJECT / name for name in listed.splitlines() if not name.endswith((".png", ".svg", ".json", ".xz"))]
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in read if file.is_file()}
    assert len(texts) > 300
    found = {
        f"{file.relative_to(PROJECT)}: {match[0]}" for file, text in texts.items() for match in by_name.finditer(text)
    }
    assert {line for line in found if not line.startswith("tests/test_installation.py")} == set()
    assert by_name.search("pip install 'xcoder-train[vllm]'") and by_name.search("python -m pip install xcoder-train")


def test_the_command_names_the_clone_from_anywhere_and_a_dot_within_it(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    *command, place = shlex.split(install_command("vllm"))
    assert command == ["pip", "install", "-e"] and place == f"{PROJECT}[vllm]"
    monkeypatch.chdir(PROJECT)
    assert install_command("vllm") == "pip install -e '.[vllm]'"
