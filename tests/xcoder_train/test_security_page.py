"""The page on what is trusted names tests that are there."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_every_file_and_test_that_the_security_page_names_exists() -> None:
    page = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:tests|reward|synth|evaluation|xcoder_train|recipes)/[\w./-]+)`", page))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(files) > 15 and len(named) > 8
    assert [file for file in sorted(files) if not (PROJECT / file).exists()] == []
    written = "".join(file.read_text(encoding="utf-8") for file in (PROJECT / "tests").rglob("test_*.py"))
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []
