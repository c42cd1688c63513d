"""`xcoder eval` of a model that vLLM's offline engine samples from, through a kill."""

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest

from tests.xcoder_train.test_served_evaluation import row
from xcoder_core.models.loading import initialise_model, save_model
from xcoder_core.models.settings import InitSettings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
SAMPLES = 3 * 60
RECIPE = """\
name: tiny
seed: 3
model: {path: model}
evaluation:
  models: [base]
  benchmarks: ["file:bench.jsonl"]
  samples: 60
  k: [1]
  sampling: {temperature: 1.0, top_p: 1.0, top_k: 0, max_new_tokens: 300}
  generation: {backend: vllm, dtype: float32, max_model_len: 512}
judge: {workers: 1}
"""


@pytest.fixture
def prepared(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with a recipe, a benchmark, and a random model, which stops at very different lengths."""
    for name in ("VLLM_CPU_KVCACHE_SPACE", "HF_HUB_OFFLINE", "VLLM_CPU_CI_ENV"):  # the last: it compiles nothing
        monkeypatch.setenv(name, "1")
    rows = [row("a", "Print the sum."), row("b", "Print the product."), row("c", "Print x.")]
    (terminal.folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    init = InitSettings(
        hidden_size=64, intermediate_size=96, layers=2, heads=2, kv_heads=1, context=512, vocabulary=300
    )
    save_model(*initialise_model(init, ["print(sum(map(int, input().split())))"], seed=0), terminal.folder / "model")
    terminal.write(RECIPE)
    return terminal


def kept(folder: Path) -> list[str]:
    """The lines of the journal of completions."""
    return [line for path in folder.rglob("samples*.journal") for line in path.read_text().splitlines()]


def test_a_killed_offline_evaluation_keeps_what_was_finished_and_leaves_no_process(prepared: Any) -> None:
    running = prepared.start("eval", "recipe.yaml")
    while not kept(prepared.run_folder):
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    family = psutil.Process(running.pid).children(recursive=True)
    (stage,) = (each for each in family if "xcoder_train.runs.stage" in each.cmdline())
    stage.kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert running.wait(60) != 0
    before = len(kept(prepared.run_folder))
    assert 0 < before < SAMPLES

    again = prepared.start("eval", "recipe.yaml")
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert f"sampling: {before} of {SAMPLES} completions" in said
    (table,) = prepared.run_folder.glob("evaluation/base-*/samples.parquet")
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert len({(row["problem_id"], row["sample_index"]) for row in rows}) == len(rows) == SAMPLES
