"""docs/recipe-reference.md says what the settings say."""

import re
from pathlib import Path

from tests.recipe_reference import Reference

PAGE = Path(__file__).parents[2] / "docs" / "recipe-reference.md"


def test_the_page_is_what_the_settings_make() -> None:
    made = Reference().text()
    assert PAGE.read_text(encoding="utf-8") == made, "run python -m tests.recipe_reference > docs/recipe-reference.md"


def test_every_key_says_what_it_does_and_every_link_arrives() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") > 4]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", page, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors
