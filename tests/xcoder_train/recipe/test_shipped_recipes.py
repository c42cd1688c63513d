"""Every recipe and every accelerate configuration that is shipped can be read, and says what it is for."""

import json
from pathlib import Path

import pytest

from xcoder_core.yaml_source import Located
from xcoder_train.recipe.reading import examine_recipe

ROOT = Path(__file__).parents[3]
RECIPES = sorted(path for path in (ROOT / "recipes").rglob("*.yaml") if path.parent.name != "accelerate")
ACCELERATE = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.name)
def test_every_accelerate_configuration_that_is_shipped_is_one_that_accelerate_takes(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(path))  # refuses unknown keys
    options = vars(launch_command_parser().parse_args(["script"]))
    for section in ("fsdp_config", "deepspeed_config", "parallelism_config"):
        assert set(getattr(config, section, None) or {}) <= set(options), section
    assert config.num_processes % (config.num_machines or 1) == 0


def test_every_recipe_and_configuration_has_its_header_and_its_row() -> None:
    table = (ROOT / "recipes" / "README.md").read_text()
    for path in (*RECIPES, *ACCELERATE):
        text = path.read_text()
        head = text[: text.index("\n\n")] if path in RECIPES else text
        for part in ("# Purpose:", "# Hardware:", "# Command:", "# Override:", "# Expected:"):
            assert part in head, f"{path.name} lacks {part}"
        assert f"{path.parent.name}/{path.name})" in table or f"[`{path.name}`]" in table, path.name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_is_shipped_is_sound(path: Path) -> None:
    Path("recipes").symlink_to(ROOT / "recipes")  # which they name relative to the repository
    root, _, mistakes = examine_recipe(path, [])
    starts_from_a_run = [f"{name} = {json.dumps(item.value)}: there is no folder" for name, item in inputs_of(root)]
    not_here = [*starts_from_a_run, "needs test4.jsonl, test5.jsonl of livecodebench/code_generation_lite"]
    assert all(any(words in mistake for words in not_here) for mistake in mistakes), mistakes


def inputs_of(root: Located) -> list[tuple[str, Located]]:
    return [(f"inputs.{name}", item) for name, item in root.value.get("inputs", Located({}, root.place)).value.items()]
