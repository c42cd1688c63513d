"""The stages of features end in the same files whatever happens on the way, and say what they lack."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import Call, Fault, OpenAIServer
from pydantic import ValidationError

from synth.config import SynthSettings
from synth.features.config import FeatureSettings
from synth.features.stage import make_features, needs_model, subtrees
from synth.features.subtrees import Subtree
from synth.features.tree import seed_tree
from synth.funnel import write_card
from xcoder_core.errors import InputError
from xcoder_core.models.answered import Answers
from xcoder_core.records import read_records
from xcoder_core.rows import BadRow

PROJECT = Path(__file__).parents[3]

PROGRAM = """
import json, sys
from pathlib import Path
from synth.features.config import FeatureSettings
from synth.features.stage import make_features
from synth.language_model.dialogue import Interview
from xcoder_core.models.answered import Answers
from xcoder_core.models.settings import SamplingSettings, ServerSettings
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.rows import BadRow

folder, settings, url = Path(sys.argv[1]), FeatureSettings.model_validate_json(sys.argv[2]), sys.argv[3]
server = ServerSettings(base_url=url, max_concurrency=2)
with OpenAIGenerator(server, "model") as generator, Answers(folder / "answers.parquet") as answers:
    interview = Interview(generator, answers, SamplingSettings(max_new_tokens=100), "features", 11)
    make_features(settings, interview, folder, 11)
    answers.seal()
"""


def run(folder: Path, settings: dict[str, Any], server: OpenAIServer) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(settings), server.base_url]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def finish(folder: Path, settings: dict[str, Any], server: OpenAIServer) -> dict[str, str]:
    process = run(folder, settings, server)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def evolving(snippets: Path) -> dict[str, Any]:
    source = {"kind": "snippets", "path": str(snippets), "maximum_characters": 1000}
    return {"source": source, "evolution": {"rounds": 1}}


def test_a_killed_run_goes_on_where_it_was_and_ends_in_the_same_files(
    tmp_path: Path, snippets: Path, model_answer: Callable
) -> None:
    settings = evolving(snippets)
    late = threading.Event()

    def watch(call: Call) -> Fault | None:
        late_calls = len(server.calls) >= 14  # in the midst of the round of evolution
        if late_calls:
            late.set()
        return Fault("slow", seconds=5) if late_calls else None

    with OpenAIServer(model_answer) as server:
        whole = finish(tmp_path / "whole", settings, server)
        calls = len(server.calls)
    assert set(whole) == {"answers.parquet", "extracted.parquet", "features.json", "round-1.parquet", "tree.json"}

    with OpenAIServer(model_answer, fault_of=watch) as server:
        process = run(tmp_path / "killed", settings, server)
        assert late.wait(120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with Answers(tmp_path / "killed" / "answers.parquet") as answers:
            kept = sum(1 for _ in answers.kept())
        server.fault_of, asked = None, len(server.calls)
        assert finish(tmp_path / "killed", settings, server) == whole
    assert kept > 0
    assert len(server.calls) - asked == calls - kept


def test_the_summary_shows_what_was_extracted_and_evolved_and_set_aside(
    tmp_path: Path, snippets: Path, model_answer: Callable, interview: Callable
) -> None:
    settings = FeatureSettings.model_validate(evolving(snippets))
    assert needs_model(settings)
    with OpenAIServer(model_answer) as server, interview(server, tmp_path / "answers.parquet") as asked:
        make_features(settings, asked, tmp_path / "features", 11)
        calls = len(server.calls)
        make_features(settings, asked, tmp_path / "features", 11)
        assert len(server.calls) == calls
    summary = json.loads((tmp_path / "features" / "features.json").read_text())
    assert summary["questions"]["extracted"] == {"used": 8, "quarantined": 4, "features": 24}
    assert summary["categories"]["algorithm"] == {"extracted": 2 + 1 + 8, "evolved": 2 + 1 + 8 + 4}
    assert summary["categories"]["complexity"] == {"extracted": 2, "evolved": 2 + 3}


def test_the_built_in_tree_needs_no_model_and_a_tree_file_gives_the_same_subtrees(tmp_path: Path) -> None:
    settings = FeatureSettings()
    assert not needs_model(settings)
    make_features(settings, None, tmp_path / "builtin", 1)
    drawn = list(subtrees(settings, tmp_path / "builtin", 20, 1))
    assert [one.index for one in drawn] == list(range(20))
    assert {leaf for one in drawn for leaf in one.leaves} <= set(seed_tree().leaves())
    source = {"kind": "tree", "path": tmp_path / "builtin" / "tree.json"}
    reused = FeatureSettings.model_validate({"source": source})
    make_features(reused, None, tmp_path / "reused", 1)
    assert list(subtrees(reused, tmp_path / "reused", 20, 1)) == drawn


def test_rows_are_the_subtrees_in_their_order_and_too_few_are_an_error(tmp_path: Path) -> None:
    rows = [
        {"features": {"a": [f"leaf {idx}"]}, "mandatory_features": [], "idx": idx, "leaf_count": 1} for idx in (5, 3)
    ]
    lines = [json.dumps(rows[0]), "{", json.dumps(rows[1])]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    settings = FeatureSettings.model_validate({"source": {"kind": "xcoder_rows", "path": tmp_path / "rows.jsonl"}})
    make_features(settings, None, tmp_path / "features", 1)
    expected = [Subtree(0, ("a/leaf 5",)), Subtree(1, ("a/leaf 3",))]
    assert list(subtrees(settings, tmp_path / "features", 2, 1)) == expected
    assert list(subtrees(settings, tmp_path / "features", 1, 1)) == expected[:1]
    with pytest.raises(InputError, match=r"has 2 usable rows, and 3 tasks were asked for.*bad_rows.parquet"):
        list(subtrees(settings, tmp_path / "features", 3, 1))
    (bad,) = read_records(tmp_path / "features" / "bad_rows.parquet", BadRow)
    assert bad.place == 2
    assert "not valid JSON" in bad.reason
    summary = json.loads((tmp_path / "features" / "features.json").read_text())
    assert summary == {"rows": {"used": 2, "quarantined": 1}}


def test_the_card_of_a_dataset_says_the_source_and_not_where_its_file_lay() -> None:
    server = {"base_url": "http://localhost/v1", "model": "m"}
    settings = SynthSettings.model_validate(
        {
            "teacher": {"kind": "openai", "server": server},
            "features": {"source": {"kind": "xcoder_rows", "path": "/home/someone/rows.jsonl"}},
            "splits": {"train": {"use": "sft", "tasks": 2}},
        }
    )
    card = write_card("sft", 2, settings, 1, {})
    assert '"kind": "xcoder_rows"' in card
    assert "someone" not in card


def test_what_only_a_model_can_do_is_refused_without_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="need a language model"):
        make_features(FeatureSettings.model_validate({"evolution": {"rounds": 1}}), None, tmp_path, 1)
    with pytest.raises(ValidationError, match="rows are subtrees already"):
        FeatureSettings.model_validate(
            {"source": {"kind": "xcoder_rows", "path": "rows.jsonl"}, "evolution": {"rounds": 1}}
        )
