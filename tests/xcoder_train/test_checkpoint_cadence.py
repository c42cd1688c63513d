"""A recipe whose first checkpoint would come after its job's time is refused, by the plan and before a job is made."""

from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_train.commands.slurm import slurm_script
from xcoder_train.plan.make import make_plan
from xcoder_train.plan.training import job_hours
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.keys import stage_key

# At 10 tokens a second, a step of 4 x 4 completions of 225 tokens takes 360 seconds, and 100 steps take ten hours.
RECIPE = """\
name: slow
model: {init: {context: 512}}
synth: {splits: {a: {use: sft, tasks: 40}, b: {use: rl, tasks: 40}}}
sft:
  {batch: 8, packing: false, max_length: 450, launch: {hardware: {tokens_per_second: 10}},
   training: {max_steps: 100, save_steps: 50}}
grpo:
  prompts_per_step: 4
  rollouts: 4
  max_prompt_length: 200
  max_completion_length: 225
  launch: {hardware: {tokens_per_second: 10}}
  training: {max_steps: 100, save_steps: 50}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(
    ("time", "hours"),
    [
        ("90", 1.5),
        (90, 1.5),
        ("90:30", 1.5 + 30 / 3600),
        ("24:00:00", 24),
        ("7-0", 168),
        ("1-12", 36),
        ("1-12:30", 36.5),
        ("0-00:30:36", 0.51),
        ("0", None),
        ("UNLIMITED", None),
        ("24h", None),
        (None, None),
    ],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(time: str | int | None, hours: float | None) -> None:
    assert job_hours(time) == hours


@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.parametrize(
    ("training", "hours", "why"),
    [
        ({}, 5.0, "50 steps of 360 s"),
        ({"save_steps": 0.2}, 2.0, "20 steps of 360 s"),
        ({"save_strategy": "epoch"}, 10.0, "100 steps of 360 s"),  # how many epochs 100 steps are is not known
        ({"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 5}, None, "steps of 360 s"),
        ({"save_strategy": "no"}, 10.0, "100 steps of 360 s"),
        ({"save_minutes": 60}, 1.1, "60 minutes and a step of 360 s"),
        ({"save_strategy": "no", "save_minutes": 60}, 1.1, "60 minutes and a step of 360 s"),
        ({"save_minutes": 600}, 5.0, "50 steps of 360 s"),
    ],
)
def test_the_plan_says_how_far_checkpoints_are_apart(
    recipe: Path, stage: str, training: dict[str, object], hours: float | None, why: str
) -> None:
    plan = make_plan(recipe, [f"{stage}.training.{name}={value}" for name, value in training.items()])
    figures = plan.figures["stages"][stage]
    hours = hours or figures["hours"]["wall_hours"] / 5  # of five epochs
    assert figures["hours_between_checkpoints"] == pytest.approx(hours)
    assert f"at most {hours:.1f} hours apart: " in " ".join(plan.text.split())
    assert why in " ".join(plan.text.split())


def test_several_steps_that_share_rollouts_end_before_a_checkpoint_by_time(recipe: Path) -> None:
    given = ["grpo.training.save_minutes=30", "grpo.training.num_iterations=5"]
    plan = make_plan(recipe, given)  # five steps share the rollouts of one
    assert "30 minutes and 5 steps of 72 s" in " ".join(plan.text.split())
    assert plan.figures["stages"]["grpo"]["hours_between_checkpoints"] == pytest.approx(0.6)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.parametrize("where", ["options", "STAGE"])
def test_the_plan_refuses_a_first_checkpoint_after_the_end_of_the_recipes_own_job(
    recipe: Path, stage: str, where: str
) -> None:
    time = f"slurm.{where.replace('STAGE', stage)}.time='05:00:00'"
    fewer = [f"{other}.training.save_steps=10" for other in ("sft", "grpo") if other != stage]
    with pytest.raises(InputError, match=rf"{stage}: the first checkpoint comes after 5.0 hours \(50 steps of 360 s\)"):
        make_plan(recipe, [time, *fewer])
    assert make_plan(recipe, [time, *fewer, f"{stage}.training.save_minutes=60"])
    assert make_plan(recipe, [time, *fewer, f"{stage}.training.save_steps=49"])
    assert make_plan(recipe, [time, *fewer, f"{stage}.training.max_steps=40"])  # one job makes all of it


def test_minutes_longer_than_the_job_are_refused_where_no_speed_is_known(recipe: Path) -> None:
    given = ["slurm.grpo.time='1:00:00'", "grpo.launch.hardware=null", "grpo.training.save_minutes=90"]
    with pytest.raises(InputError, match=r"after 1.5 hours \(grpo.training.save_minutes is 90\), and Slurm ends the"):
        make_plan(recipe, given)
    assert make_plan(recipe, [*given[:2], "grpo.training.save_minutes=30"])


@pytest.mark.parametrize(("time", "is_refused"), [("05:00:00", True), ("4:0:0", True), ("06:00:00", False)])
def test_no_script_is_made_for_a_job_that_would_begin_again_without_end(
    recipe: Path, time: str, is_refused: bool
) -> None:
    def script(*overrides: str) -> str:
        return slurm_script(recipe, overrides, time=time, partition=None, account=None)

    if is_refused:
        with pytest.raises(InputError, match=f"Slurm ends the job after .* \\(time {time}\\)"):
            script()
        assert "sbatch" in script("sft.training.save_minutes=60", "grpo.training.save_minutes=60")
        assert "sbatch" in script("slurm.sft.time=1-0", "slurm.grpo.time=1-0")  # what the recipe says of one stage
    else:
        assert "sbatch" in script()


def test_the_scripts_own_limit_of_a_day_counts_where_nothing_is_said(recipe: Path) -> None:
    slow = ["grpo=null", "sft.training.max_steps=1000", "sft.training.save_steps=250"]
    with pytest.raises(InputError, match=r"after 25.0 hours .250 steps of 360 s., and Slurm ends the job after 24.0"):
        slurm_script(recipe, slow, time=None, partition=None, account=None)
    assert make_plan(recipe, slow)  # no job: nothing ends it


def test_when_checkpoints_are_written_is_no_part_of_a_key(recipe: Path) -> None:
    plain = load_recipe(recipe, [])
    timed = load_recipe(recipe, ["sft.training.save_minutes=5", "grpo.training.save_minutes=5"])
    for stage in ("sft", "grpo"):
        assert stage_key(timed, stage) == stage_key(plain, stage)
