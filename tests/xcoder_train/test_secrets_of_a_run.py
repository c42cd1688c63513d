"""Secrets: a recipe may hold none, and none of the environment comes into a run's files, reports or messages."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer
from procedural_model import ProceduralModel, operation_tree

from synth.features.tree import write_tree
from xcoder_core.errors import InputError
from xcoder_train.recipe.reading import load_recipe

HIDDEN = "hunter2-hunter2"
SECRETS = {
    "OPENAI_API_KEY": "sk-whole-run-0123456789-openai",
    "HF_TOKEN": "hf_wholerun0123456789hub",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "XCODER_JUDGE_TOKEN": "a-token-of-the-judge-0123456789",
    "GITHUB_TOKEN": "ghp_wholerun0123456789github",
}
PROJECT = Path(__file__).parents[2]
QUICKSTART = PROJECT / "recipes" / "laptop" / "quickstart.yaml"


@pytest.mark.parametrize(
    "override",
    [
        f"sft.training.hub_token={HIDDEN}",
        f"sft.training.run_name=Bearer {HIDDEN}",
        f"sft.training.trl={{hub_token: {HIDDEN}, optim: 'Bearer {HIDDEN}'}}",
        f"sft.launch.environment={{WANDB_API_KEY: {HIDDEN}}}",
        f"grpo.training.vllm_server_base_url=http://me:{HIDDEN}@host/",
        f"tracking.project=https://{HIDDEN}@host/",
        f"tracking={{wandb: offline, api_key: {HIDDEN}}}",
        f"evaluation.generation={{backend: openai, openai: {{base_url: 'http://me:{HIDDEN}@host/v1'}}}}",
        f"evaluation.generation={{backend: openai, openai: {{base_url: 'http://h/v1', api_key_env: {HIDDEN}}}}}",
        f"evaluation.generation={{backend: openai, openai: {{base_url: 'http://h', extra_body: {{token: {HIDDEN}}}}}}}",
        f"sft.password={HIDDEN}",
        f"sft.training.learning_rate {{token: {HIDDEN}}}",
    ],
)
def test_a_recipe_with_a_secret_is_refused_without_repeating_it(override: str) -> None:
    with pytest.raises(InputError) as refused:
        load_recipe(QUICKSTART, [override])
    assert HIDDEN not in str(refused.value)


def test_a_secret_in_a_comment_is_refused_too_and_nothing_is_written(terminal: Any) -> None:
    recipe = terminal.folder / "recipe.yaml"
    terminal.write(recipe.read_text() + f"# api_key: {SECRETS['OPENAI_API_KEY']}\n")
    refused = terminal.xcoder("run", "recipe.yaml")
    assert refused.returncode == 2 and "the comment holds what looks like an API key" in refused.stderr
    assert SECRETS["OPENAI_API_KEY"] not in refused.stderr and not terminal.run_folder.exists()


RECIPE = """\
name: tiny
seed: 1
judge: {{workers: 2}}
tracking: {{wandb: offline}}
model:
  init: {{hidden_size: 32, intermediate_size: 48, layers: 2, heads: 4, kv_heads: 2, vocabulary: 400, context: 1024}}
synth:
  teacher: {{kind: openai, server: {{base_url: "{url}", model: model, api_key_env: OPENAI_API_KEY}}}}
  features:
    source: {{kind: tree, path: tree.json}}
    shape: {{root: [1, 1], inner: [3, 3], leaves: [2, 2], minimum_leaves: 4}}
  styles: {{codeforces: 1}}
  splits:
    train: {{use: sft, tasks: 12}}
    explore: {{use: rl, tasks: 10}}
    heldout: {{use: evaluation, tasks: 8}}
  inputs_per_task: 8
  candidates_per_task: 6
sft:
  batch: 4
  micro_batch: 4
  max_length: 1024
  packing: false
  training: {{max_steps: 2, logging_steps: 1, save_steps: 1}}
grpo:
  prompts_per_step: 2
  rollouts: 4
  micro_batch: 4
  max_prompt_length: 700
  max_completion_length: 20
  training: {{max_steps: 2, logging_steps: 1, save_steps: 1}}
evaluation:
  benchmarks: [heldout]
  samples: 1
  k: [1]
  sampling: {{max_new_tokens: 10}}
report: {{samples: 20}}
"""


@pytest.mark.slow
def test_a_whole_run_with_wandb_and_report_keeps_every_secret_of_its_environment(
    terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    write_tree(terminal.folder / "tree.json", operation_tree())
    with OpenAIServer(answer=ProceduralModel(), key=SECRETS["OPENAI_API_KEY"], echo_key=True) as server:
        terminal.write(RECIPE.format(url=server.base_url))
        shown = [terminal.xcoder(command, "recipe.yaml") for command in ("plan", "slurm")]
        done = terminal.start("run", "recipe.yaml", stdout=-1)
        shown_output = done.communicate(timeout=500)
        assert done.returncode == 0, shown_output[1]
    shown.append(terminal.xcoder("doctor"))
    told = [*shown_output, *(text for one in shown for text in (one.stdout, one.stderr))]
    files = [path for path in terminal.folder.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"report.html", "recipe.resolved.json", "manifest.json", "README.md", "summary.json"} <= names
    assert any(name.endswith(".wandb") for name in names) and any("offline-run" in str(path) for path in files)
    for secret in SECRETS.values():
        assert secret in os.environ.values()
        assert not any(secret in text for text in told)
        holders = [path for path in files if secret.encode() in path.read_bytes()]
        assert holders == [], holders
    assert json.loads((terminal.run_folder / "recipe.resolved.json").read_text())["name"] == "tiny"
