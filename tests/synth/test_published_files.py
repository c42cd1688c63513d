"""The files of a published set: which they are, what they hold, and how much of them is held at once."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from synth.config import SynthSettings
from synth.published.files import band_of
from synth.published.stage import import_published
from tests.synth.published_rows import (
    SFT_ROWS,
    SUM,
    answer,
    context_in,
    sft,
    write_parquet,
)
from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.rows import read_rows


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("syn_rl_data/xcoder_data/sorted_by_passrate/part_0003.parquet", "part_0003"),
        ("rl_tasks_easy.jsonl.gz", "rl_tasks_easy"),
        ("real_rl_data/non_sys_prompt/codeforces_9763.parquet", None),
    ],
)
def test_bands_are_told_by_the_names_of_files(name: str, band: str | None) -> None:
    assert band_of(Path(name)) == band


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "verified_90k.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    settings = SynthSettings.model_validate({"import": [{"source": "x-coder-sft-376k", "path": str(path)}]})
    with pytest.raises(InputError, match="verified_90k.parquet is not a readable Parquet"):
        import_published(settings, "plain", context_in(tmp_path / "run"))


@pytest.mark.parametrize(
    ("file", "rows", "said"),
    [
        ("verified_90k.parquet", [{"question": "a", "answer": "b"}], "has none of the columns query"),
        ("verified_90k.parquet", [sft(SUM, "no code")] * 2, "not one row of x-coder-sft-376k-verified_90k could be"),
        ("other.parquet", SFT_ROWS, "found other.parquet"),
    ],
)
def test_files_that_are_not_the_set_are_refused(
    tmp_path: Path, file: str, rows: list[dict[str, Any]], said: str
) -> None:
    write_parquet(tmp_path / "set" / file, rows)
    item = {"source": "x-coder-sft-376k", "path": str(tmp_path / "set"), "configuration": "verified_90k"}
    with pytest.raises(InputError, match=said):
        import_published(SynthSettings.model_validate({"import": [item]}), "plain", context_in(tmp_path / "run"))


def test_a_hub_that_cannot_be_reached_is_a_lack_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    settings = SynthSettings.model_validate({"import": [{"source": "x-coder-sft-376k"}]})
    with pytest.raises(EnvironmentLacks, match="IIGroup/X-Coder-SFT-376k cannot be fetched.*give its folder as `path`"):
        import_published(settings, "plain", context_in(tmp_path / "run"))


MEASURE = """
import resource, sys
from pathlib import Path
from synth.config import SynthSettings
from synth.published import pooling
from synth.published.stage import import_published
from xcoder_core.stage import StageContext
from xcoder_core.rows import read_rows

folder, path = Path(sys.argv[1]), sys.argv[2]
item = {"source": "x-coder-sft-376k", "path": path}
context = StageContext("test", "synth", "key", folder, 3, {})
pooling.RUN_BYTES = 8 << 20
import_published(SynthSettings.model_validate({"import": [item]}), "plain", context)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    """40 and 320 MB of answers: what is held grows by the runs that are merged and by the near-duplicates' index."""
    peaks = []
    for count in (1_000, 8_000):
        rows = (
            sft(f"Problem number {n // 4}: print {n // 4}.", answer(f"print({n})", thought=f"{n} is so. " * 4_000))
            for n in range(count)
        )
        path = tmp_path / f"{count}.parquet"
        first = next(rows)
        schema = pyarrow.Table.from_pylist([first]).schema
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            writer.write_table(pyarrow.Table.from_pylist([first], schema))
            for start in range(1, count, 100):
                block = [row for _, row in zip(range(min(100, count - start)), rows, strict=False)]
                writer.write_table(pyarrow.Table.from_pylist(block, schema))
        command = [sys.executable, "-c", MEASURE, str(tmp_path / f"run{count}"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 100, peaks


def test_a_line_of_json_lines_ends_at_its_newline_alone(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\x85c"}, {"text": "d\x0ce"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert [row for _, row in read_rows(path)] == rows


@pytest.mark.parametrize("packed", [False, True])
def test_rows_behind_a_byte_order_mark_are_all_read(tmp_path: Path, packed: bool) -> None:
    text = "".join(json.dumps({"row": number}) + "\n" for number in range(3)).encode("utf-8-sig")
    path = tmp_path / ("rows.jsonl.gz" if packed else "rows.jsonl")
    path.write_bytes(gzip.compress(text) if packed else text)
    assert [row for _, row in read_rows(path)] == [{"row": 0}, {"row": 1}, {"row": 2}]
    (tmp_path / "rows.json").write_text(json.dumps([{"row": 0}]), encoding="utf-8-sig")
    assert [row for _, row in read_rows(tmp_path / "rows.json")] == [{"row": 0}]
