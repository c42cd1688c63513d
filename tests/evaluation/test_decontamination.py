"""What is known of a model's training data is said as it is; unknown is never silence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.benchmark import Benchmark, decontamination_status
from evaluation.livecodebench import load_livecodebench
from synth.cleaning import Decontamination, read_evaluation_set
from synth.config import CleaningSettings
from tests.evaluation.releases import write_release
from xcoder_core.errors import InputError


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return load_livecodebench(write_release(tmp_path_factory.mktemp("release"), (6,)) / "test6.jsonl")


def report(folder: Path, *files: Path, window: tuple[str | None, str | None] = (None, None)) -> None:
    """`decontamination.json` by synthesis itself, of which four tasks are like each file's problems."""
    settings = CleaningSettings.model_validate({"window": window})
    check = Decontamination(map(read_evaluation_set, files), settings)
    found = check.report(100, [file.stem for file in files for _ in range(4)])
    (folder / "decontamination.json").write_text(json.dumps(found))


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
