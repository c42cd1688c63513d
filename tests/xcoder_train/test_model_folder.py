"""A run starts from whole files, or not at all: damaged models and data are named before anything runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.models.folder import check_model_folder
from xcoder_core.records import read_table


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model, as a run leaves it. Read it, never write to it."""
    from xcoder_core.models.loading import initialise_model, save_model
    from xcoder_core.models.settings import InitSettings

    folder = tmp_path_factory.mktemp("model") / "whole"
    init = InitSettings(hidden_size=16, intermediate_size=16, layers=1, heads=2, kv_heads=1, vocabulary=300)
    save_model(*initialise_model(init, ["print(1)"], seed=1), folder)
    return folder


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def random_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)


def truncated_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def short_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x08")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[")


def no_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff")


DAMAGES = {
    random_weights: "model.safetensors is damaged: Error while deserializing header",
    truncated_weights: "file not fully covered",
    short_weights: "model.safetensors is damaged",
    no_tokenizer: "tokenizer.json is damaged",
    no_config: "config.json is damaged",
}


def test_a_whole_model_is_let_through(model: Path) -> None:
    check_model_folder(model)


@pytest.mark.parametrize(("damage", "said"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_model_is_refused_before_anything_runs(
    model: Path, terminal: Any, damage: Callable[[Path], None], said: str
) -> None:
    damage(model)
    done = terminal.xcoder("run", "recipe.yaml", f"model.path={model}", "sft={max_length: 512}")
    assert done.returncode == 2, done.stderr
    assert "model.path" in done.stderr and said in done.stderr
    assert f"cannot load the model from {model}: " in done.stderr
    assert "Traceback" not in done.stderr and not terminal.run_folder.exists()


def test_a_model_without_a_tokenizer_is_refused(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="it lacks tokenizer.json"):
        check_model_folder(model)


def test_what_only_loading_can_tell_is_one_message_too(model: Path) -> None:
    from xcoder_core.models.loading import load_model, load_tokenizer

    config = model / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": 32'))
    check_model_folder(model)
    with pytest.raises(InputError, match=f"cannot load the model from {model}: "):
        load_model(model)
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=f"cannot load the tokenizer from {model}: "):
        load_tokenizer(model)
    random_weights(model)
    with pytest.raises(InputError, match=f"cannot load the model from {model}: "):
        load_model(model)


def test_everything_that_a_run_starts_from_is_checked_with_all_other_mistakes(
    finished_folder: Path, model: Path, terminal: Any
) -> None:
    run = Path(shutil.copytree(finished_folder / "runs" / "tiny", terminal.folder / "other"))
    (key,) = (run / "synth").iterdir()
    table = key / "datasets" / "sft" / "train.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    random_weights(model)
    result = run / "sft" / "k"
    result.mkdir(parents=True)
    (result / "stage.json").write_text('{"stage": "sft", "key": "k"}')
    shutil.move(model, result / "model")
    terminal.write(
        "model: {path: ./nowhere}\n"
        "inputs:\n"
        "  synth: other\n"
        "  sft: other\n"
        "  grpo: nothing\n"
        "evaluation: {sampling: {max_new_tokens: 10}, benchmarks: ['file:recipe.yaml']}\n"
    )
    done = terminal.xcoder("plan", "recipe.yaml")
    assert done.returncode == 2 and "4 mistakes" in done.stderr, done.stderr
    for words in (
        'recipe.yaml:1: model.path = "./nowhere": there is no folder nowhere',
        f'recipe.yaml:3: inputs.synth = "other": other/synth/{key.name}/datasets/sft/train.parquet is not a readable',
        'recipe.yaml:4: inputs.sft = "other": cannot load the model from other/sft/k/model: model.safetensors is',
        'recipe.yaml:5: inputs.grpo = "nothing": there is no folder nothing',
    ):
        assert words in done.stderr, words


def test_a_table_that_is_damaged_inside_is_named(finished_folder: Path, tmp_path: Path) -> None:
    table = next((finished_folder / "runs" / "tiny" / "synth").glob("*/datasets/sft/train.parquet"))
    content = bytearray(table.read_bytes())
    content[4:-8] = b"\xff" * (len(content) - 12)
    damaged = tmp_path / "train.parquet"
    damaged.write_bytes(bytes(content))
    with pytest.raises(InputError, match=f"{damaged} is not a readable Parquet file"):
        read_table(damaged)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "has no chat template, so prompts cannot be rendered. Name a file with one (model.chat_template"),
        ("{% for message in messages %}", "template.jinja, line 1: not a Jinja template"),
        ("{{ 'Q:' }}", "is no chat template: it never names `messages`"),
        ("missing", "cannot be read: "),
    ],
)
def test_a_model_without_a_usable_chat_template_is_refused_before_anything_runs(
    model: Path, terminal: Any, template: str | None, said: str
) -> None:
    (model / "chat_template.jinja").unlink()
    file = terminal.folder / "template.jinja"
    if template not in (None, "missing"):
        file.write_text(str(template))
    given = [] if template is None else [f"model.chat_template={file}"]
    done = terminal.xcoder("plan", "recipe.yaml", f"model.path={model}", "sft={max_length: 512}", *given)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_a_template_of_the_recipe_takes_the_place_of_the_tokenizers_own(model: Path, tmp_path: Path) -> None:
    from xcoder_core.models.loading import load_tokenizer

    (model / "chat_template.jinja").unlink()
    file = tmp_path / "template.jinja"
    file.write_text(
        "{% for message in messages %}{% generation %}{{ message.content }}{% endgeneration %}{% endfor %}\n"
    )
    tokenizer = load_tokenizer(model, chat_template=file)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False) == "Hello"
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "chat_template.jinja").read_text() == file.read_text()
