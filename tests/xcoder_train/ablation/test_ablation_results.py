"""Tables and plots of an ablation, from its stored results and nothing else."""

import csv
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from benchmarks.ablations import RESULTS
from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_train.ablation.results import AblationResults, read_results
from xcoder_train.ablation.runs import Ablation
from xcoder_train.ablation.tables import to_csv, to_latex, to_markdown_page, write_tables
from xcoder_train.commands.ablate import write_results


def _results(stored: dict[str, Any]) -> AblationResults:
    return TypeAdapter(AblationResults).validate_python(stored)


def test_the_table_has_our_figure_with_its_interval_the_papers_and_both_windows(stored: dict[str, Any]) -> None:
    page = to_markdown_page(_results(stored))
    row, empty = (next(line for line in page.splitlines() if line.startswith(f"| {name}")) for name in ("8x1", "4x2"))
    assert "| 30.0 [20.0, 40.0] | 25.0, 35.0 |" in row and row.endswith("| 47.0 |")
    assert "| not run yet |" in empty and empty.endswith("| – |")
    for told in ("Held equal: epochs", "12 held-out problems", "LiveCodeBench v5", "Not run yet: 4x2-seed0, 4x2-seed1"):
        assert told in page


def test_an_ablation_that_has_not_been_run_says_so(stored: dict[str, Any]) -> None:
    blank = {"runs": [], "mean": None, "ci95": None, "problems": 0, "difference": None}
    arms = [{"name": name, "labels": [name], **blank} for name in ("8x1", "4x2")]
    empty = _results(stored | {"arms": arms, "window": None, "sampling": None})
    assert "Not run yet." in to_markdown_page(empty)
    assert to_markdown_page(empty).count("not run yet") == 2


def test_the_csv_has_every_seed_and_the_mean_as_shares(stored: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(_results(stored)))))
    found = [(row["tasks × solutions"], row["seed"], row["mean"], row["paper_percent"]) for row in rows]
    assert found == [
        ("8x1", "0", "0.25", "47.0"),
        ("8x1", "1", "0.35", "47.0"),
        ("8x1", "all", "0.3", "47.0"),
        ("4x2", "all", "", ""),
    ]
    assert {row["window"] for row in rows} == {"12 held-out problems"}


def test_latex_has_a_cell_for_each_column_and_nothing_that_latex_would_read(stored: dict[str, Any]) -> None:
    text = to_latex(_results(stored | {"question": "100 % of a_b & c?"}))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert all(row.replace(r"\&", "").count("&") == len(columns) - 1 for row in rows)
    assert r"100 \% of a\_b \& c?" in text and r"tasks $\times$ solutions" in text


def test_stored_results_alone_give_the_same_files_again(stored: dict[str, Any], tmp_path: Path) -> None:
    names = {"table.md", "table.csv", "table.tex", "plot.png", "plot.svg"}
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "results.json").write_text(json.dumps(stored))
        write_tables(read_results(tmp_path / folder / "results.json"), tmp_path / folder)
    made = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert set(made) == names | {"results.json"}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert made["plot.png"][:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", made["plot.png"][16:24])[0] > 600
    assert b"<svg" in made["plot.svg"]


def test_results_of_runs_that_are_gone_are_not_overwritten_by_none(
    stored: dict[str, Any], recipe: Callable[..., Path], tmp_path: Path
) -> None:
    ablation = Ablation(recipe(), [f"runs_dir={tmp_path}"])
    assert write_results(ablation).missing == ("8x1-seed0", "4x2-seed0")
    (tmp_path / "tiny" / "results.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="holds results of others, which stay"):
        write_results(ablation)
    assert json.loads((tmp_path / "tiny" / "results.json").read_text()) == stored


def test_what_is_no_result_of_an_ablation_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for text, reason in (("", "Expecting value"), ("{}", "name: Field required"), ("[1]", "should be a dictionary")):
        path.write_text(text)
        with pytest.raises(InputError, match=f"cannot be read as the results of an ablation: .*{reason}") as refused:
            read_results(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_stored_results_are_written_again_byte_for_byte(path: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "again.json", read_results(path).to_json())
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_an_arm_that_has_not_been_run_is_written_again_as_it_was(stored: dict[str, Any]) -> None:
    assert json.dumps(_results(stored).to_json()["arms"]) == json.dumps(stored["arms"])


def test_a_run_of_which_no_problem_counts_has_a_dash(stored: dict[str, Any]) -> None:
    stored["arms"][0]["runs"][1] |= {"mean": None, "ci95": None, "problems": 0, "left_out": 12}
    assert "| 25.0, – |" in to_markdown_page(_results(stored))
