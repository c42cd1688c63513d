"""docs/ablations.md says what the stored results say."""

import json
from pathlib import Path
from typing import Any

from benchmarks.ablations import MARKED, PAGE, RESULTS, filled


def test_the_page_is_what_the_stored_results_make_of_it() -> None:
    assert filled(PAGE.read_text(), RESULTS) == PAGE.read_text()


def test_a_table_takes_the_place_of_not_run_yet_and_the_other_way_round(stored: dict[str, Any], tmp_path: Path) -> None:
    empty = filled(PAGE.read_text(), tmp_path)
    assert empty.count("Not run yet: `xcoder ablate recipes/") == len(MARKED.findall(empty)) == 6
    (tmp_path / "laptop-tasks-or-solutions.json").write_text(json.dumps(stored))
    page = filled(empty, tmp_path)
    assert "| 30.0 [20.0, 40.0] | 25.0, 35.0 |" in page and page.count("Not run yet: `xcoder ablate recipes/") == 5
    (tmp_path / "laptop-tasks-or-solutions.json").unlink()
    assert filled(page, tmp_path) == empty
