"""Reading a recipe: every mistake at once, each with its place, through files that extend others and overrides."""

from pathlib import Path

import pytest

from tests.xcoder_train.recipe.small import GOOD, refusal
from xcoder_core.errors import InputError
from xcoder_train.recipe.reading import _ONE_VALUE, load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key


def test_a_sound_recipe_runs_its_sections_as_stages(recipe: Path) -> None:
    loaded = load_recipe(recipe, [])
    assert loaded.stages == ("synth", "sft", "grpo", "evaluation", "report")
    assert loaded.run_folder == Path("runs/tiny")
    assert loaded.sft is not None and loaded.sft.training.learning_rate == 5e-4


@pytest.mark.parametrize(
    ("override", "styles"),
    [
        ("synth.styles={codeforces: 1}", {"codeforces": 1}),
        ("synth.styles.codeforces=1", {"codeforces": 1, "leetcode": 0.5}),
    ],
)
def test_a_mapping_of_numbers_on_the_command_line_is_the_whole_value_and_sections_merge(
    recipe: Path, override: str, styles: dict[str, float]
) -> None:
    given = ["synth.styles={codeforces: 0.5, leetcode: 0.5}", "sft.training={weight_decay: 0.1}", override]
    loaded = load_recipe(recipe, given)
    assert loaded.synth is not None and loaded.synth.styles == styles and loaded.synth.splits
    assert loaded.sft is not None and loaded.sft.training.weight_decay == 0.1
    assert loaded.sft.training.learning_rate == 5e-4


def test_every_mapping_of_numbers_or_texts_in_a_recipe_is_one_value() -> None:
    schemas = [Recipe.model_json_schema(), *Recipe.model_json_schema()["$defs"].values()]
    fields = [field for schema in schemas for field in schema.get("properties", {}).items()]
    forms = [(name, form) for name, field in fields for form in (field, *field.get("anyOf", ()))]
    plain = [{"type": kind} for kind in ("number", "integer", "string", "boolean")]
    assert {name for name, form in forms if form.get("additionalProperties") in plain} == set(_ONE_VALUE)


def test_a_resolved_recipe_is_a_recipe(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe, ["sft.launch.threads=2"])
    resolved = tmp_path / "resolved.json"
    resolved.write_text(loaded.model_dump_json())
    assert load_recipe(resolved, []) == loaded


def test_a_recipe_with_many_mistakes_reports_all_of_them_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "seeed: 3\n"
        "model: {init: {context: 512}}\n"
        "synth:\n"
        "  splits:\n"
        "    solved: {use: sfft, tasks: 10}\n"
        "    second: {tasks: 0}\n"
        "sft:\n"
        '  batch: "8"\n'
        "  max_length: 600\n"
        "  learning_rate: 3\n"
        "  training:\n"
        "    warmup_ratio: 0.1\n"
        "    learning_rat: 3\n"
        "    max_steps: 1.5\n"
        "    lr_scheduler_type: cosin\n"
        "    max_seq_length: 3\n"
        "evaluation: {samples: 2, k: [1, 100]}\n"
    )
    said = refusal(path)
    for line, words in (
        (2, "seeed = 3: no such key; did you mean `seed`?"),
        (6, "synth.splits.solved.use = \"sfft\": expected 'sft', 'rl' or 'evaluation'; did you mean `sft`?"),
        (7, "synth.splits.second.use: is needed and not given"),
        (7, "synth.splits.second.tasks = 0: expected greater than or equal to 1"),
        (9, 'sft.batch = "8": expected a whole number'),
        (11, "sft.learning_rate = 3: no such key; it belongs to sft.training.learning_rate"),
        (13, "sft.training.warmup_ratio = 0.1: no such key; did you mean `warmup_steps`?"),
        (
            14,
            "sft.training.learning_rat = 3: no such key; did you mean `learning_rate`? Arguments of trl.SFTConfig",
        ),
        (15, "sft.training.max_steps = 1.5: expected a whole number"),
        (16, 'sft.training.lr_scheduler_type = "cosin": expected'),
        (17, "sft.training.max_seq_length = 3: no such key; it is decided by `sft.max_length`"),
    ):
        assert any(shown.startswith(f"  {path}:{line}: ") and words in shown for shown in said.splitlines()), words
    assert f"{path}: {len(said.splitlines()) - 1} mistakes in the recipe" in said


def test_all_settings_that_do_not_fit_together_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "model: {init: {context: 512}}\n"
        "synth: {splits: {solved: {use: sft, tasks: 10}}}\n"
        "sft:\n"
        "  max_length: 600\n"
        "evaluation: {samples: 2, k: [1, 100]}\n"
    )
    said = refusal(path)
    assert "3 mistakes in the recipe" in said
    assert f"{path}:4: sft.max_length = 600: rows of 600 tokens do not fit the model's context of 512" in said
    assert f"{path}:5: evaluation.k = [1, 100]: pass@100 cannot be estimated from 2 samples" in said


def test_a_mapping_is_a_recipe_too(recipe: Path) -> None:
    sections = {"name": "mapped", "model": {"path": "owner/name"}, "evaluation": {"benchmarks": ["humaneval"]}}
    with pytest.raises(InputError, match=r'the recipe: evaluation\.benchmarks\.0 = "humaneval"'):
        load_recipe(sections)
    assert load_recipe(load_recipe(recipe).model_dump(mode="json")) == load_recipe(recipe)


def test_repeated_keys_are_told_with_all_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 1\nseed: 2\n")
    path = tmp_path / "r.yaml"
    path.write_text(
        "extends: base.yaml\nsynth:\n"
        "  candidates_per_task: 8\n  candidates_per_task: 4\n  splits: {a: {use: sft, tasks: 4}}\nseeed: 1\n"
    )
    said = refusal(path)
    assert "3 mistakes" in said
    assert f"{path}:4: duplicate key `candidates_per_task`, first given at {path}:3" in said
    assert f"{tmp_path}/base.yaml:2: duplicate key `seed`" in said and f"{path}:6: seeed = 1" in said


def test_an_empty_override_is_refused_and_null_is_named(recipe: Path) -> None:
    assert "there is no value; to take the setting away, write sft.batch=null" in refusal(recipe, ["sft.batch="])


def test_one_mistake_is_not_told_twice(recipe: Path) -> None:
    for override in ("evaluation.k=5", "synth=3", "sft.launch.processes=two", "model.init.heads=5", "judge.tier=E"):
        assert ": 1 mistake in" in refusal(recipe, [override]), override


def test_an_override_in_a_message_is_named_as_what_it_is(recipe: Path) -> None:
    said = refusal(recipe, ["sft.training.max_steps=many"])
    assert "override 'sft.training.max_steps=many': sft.training.max_steps = \"many\": expected a whole number" in said


@pytest.mark.parametrize("override", ["seed", "=3", "a.b=[1", "extends=other.yaml"])
def test_an_unparsable_override_is_named(recipe: Path, override: str) -> None:
    assert f"override '{override}'" in refusal(recipe, ["seed=1", override])


def test_a_file_below_is_named_in_a_message_about_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("batch: 8", "batch: eight"))
    above = tmp_path / "above.yaml"
    above.write_text("extends: base.yaml\nseed: 1\n")
    assert f"{tmp_path}/base.yaml:8: sft.batch" in refusal(above)
    assert load_recipe(above, ["sft.batch=4"]).seed == 1


def test_null_takes_a_section_away(recipe: Path, tmp_path: Path) -> None:
    above = tmp_path / "above.yaml"
    above.write_text("extends: good.yaml\nname: above\ngrpo: null\nevaluation: {models: [base, sft]}\n")
    loaded = load_recipe(above, [])
    assert loaded.stages == ("synth", "sft", "evaluation", "report")
    assert loaded.evaluation is not None and loaded.evaluation.samples == 2


def test_extending_in_a_circle_or_a_missing_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("seed: 1\nextends: a.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: nowhere.yaml\n")
    assert f"{tmp_path}/b.yaml:2: extends: a.yaml leads back to itself" in refusal(tmp_path / "a.yaml")
    assert "there is no file" in refusal(tmp_path / "c.yaml")
    assert "cannot be read: No such file" in refusal(tmp_path / "d.yaml")


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\nsft: [1\n")
    assert f"{path}:" in refusal(path) and "not valid YAML" in refusal(path)
    path.write_text("")
    assert "expected a recipe" in refusal(path)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{wrong_rat: 0.1}", "synth.teacher.wrong_rat = 0.1: no such key; did you mean `wrong_rate`?"),
        ("{kind: opanai}", "synth.teacher: `kind` is 'opanai', expected one of"),
        ("{kind: openai, server: {base_url: 'http://x/v1', modl: a}}", "synth.teacher.server.modl"),
        ("{kind: openai, server: {base_url: 'http://x/v1'}}", "synth.teacher: server.model is needed"),
        (
            "{kind: vllm, model: a, sampling: {task: {}}}",
            "synth.teacher.sampling.task: no such key; did you mean `tasks`?",
        ),
        ("{kind: transformers, model: a, generation: {backend: vllm}}", "synth.teacher: `kind: transformers` decides"),
    ],
)
def test_a_mistake_in_a_teacher_of_any_kind_is_told_where_it_stands(tmp_path: Path, teacher: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nsynth:\n  teacher: {teacher}\n  splits: {{a: {{use: sft, tasks: 3}}}}\n")
    with pytest.raises(InputError) as error:
        load_recipe(path, [])
    assert f"recipe.yaml:3: {message}" in str(error.value)


def test_where_a_teachers_server_is_makes_no_other_result(tmp_path: Path) -> None:
    keys = []
    for host, model in (("x", "a"), ("y", "a"), ("x", "b")):
        path = tmp_path / "recipe.yaml"
        teacher = f"{{kind: openai, server: {{base_url: 'http://{host}/v1', model: {model}}}}}"
        path.write_text(f"name: x\nsynth:\n  teacher: {teacher}\n  splits: {{a: {{use: sft, tasks: 3}}}}\n")
        keys.append(stage_key(load_recipe(path, []), "synth"))
    assert keys[0] == keys[1] != keys[2]
