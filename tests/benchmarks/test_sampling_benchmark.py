"""The benchmark of sampling measures two ways that choose the same tokens."""

import json
from pathlib import Path

from benchmarks import sampling


def test_both_ways_are_measured_on_tokens_that_agree(tmp_path: Path) -> None:
    small = ["--rows", "3", "--rounds", "1", "--vocabularies", "500", "--output", str(tmp_path / "r.json")]
    result = sampling.main(small)
    assert json.loads((tmp_path / "r.json").read_text()) == result
    assert set(result["vocabularies"]["500"]) == set(sampling.SAMPLINGS)
