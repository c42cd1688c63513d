"""What is known of a model's training data is said as it is; unknown is never silence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmark import Benchmark
from evaluation.decontamination import decontamination_status
from evaluation.livecodebench import load_livecodebench
from tests.evaluation.releases import write_release
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import fingerprint


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return load_livecodebench(write_release(tmp_path_factory.mktemp("release"), (6,)) / "test6.jsonl")


def report(folder: Path, *files: Path, window: tuple[str | None, str | None] = (None, None)) -> None:
    """`decontamination.json` as synthesis writes it."""
    sets = [{"name": file.stem, "content": fingerprint(file), "problems": 175, "tasks_removed": 4} for file in files]
    check: dict[str, Any] = {"kind": "word n-grams", "words": 5, "share": 0.2, "boilerplate": 3, "window": window}
    text = json.dumps({"check": check, "tasks_checked": 100, "tasks_removed": 4, "sets": sets})
    (folder / "decontamination.json").write_text(text)


def test_a_model_from_elsewhere_is_unknown(benchmark: Benchmark) -> None:
    assert decontamination_status(None, benchmark)["status"] == "unknown"


def test_a_checked_synthesis_says_by_what_and_how_many_were_removed(benchmark: Benchmark, tmp_path: Path) -> None:
    assert decontamination_status(tmp_path, benchmark)["status"] == "unknown"
    report(tmp_path, *benchmark.files)
    status = decontamination_status(tmp_path, benchmark)
    assert status["status"] == "checked" and status["removed"] == 4 and "word n-grams" in status["said"]
    assert decontamination_status(tmp_path, replace(benchmark, name="heldout"))["status"] == "held out"


def test_another_file_another_content_and_other_days_are_unknown(benchmark: Benchmark, tmp_path: Path) -> None:
    report(tmp_path)
    assert (
        "against nothing, not against these files (test6.jsonl)" in decontamination_status(tmp_path, benchmark)["said"]
    )
    other = tmp_path / "test6.jsonl"
    other.write_bytes(benchmark.files[0].read_bytes()[:-1])
    report(tmp_path, other)
    assert decontamination_status(tmp_path, benchmark)["status"] == "unknown"
    report(tmp_path, *benchmark.files, window=("2025-02-01", None))
    assert "not of all of" in decontamination_status(tmp_path, benchmark)["said"]
    report(tmp_path, *benchmark.files, window=("2025-01-01", "2025-05-01"))
    assert decontamination_status(tmp_path, benchmark)["status"] == "checked"


def test_a_damaged_file_is_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    for text in ("{", '{"sets": []}', "[]"):
        (tmp_path / "decontamination.json").write_text(text)
        with pytest.raises(InputError, match=r"decontamination\.json"):
            decontamination_status(tmp_path, benchmark)
