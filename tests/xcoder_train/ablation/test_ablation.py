"""What an ablation refuses to compare, and the commands that its arms are."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_train.ablation.runs import Ablation
from xcoder_train.commands.ablate import missing_commands
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.stage import run_recipe

MakeRecipe = Callable[..., Path]
RECIPES = Path(__file__).parents[3] / "recipes"
SHIPPED = sorted(path for path in RECIPES.rglob("*.yaml") if "\nablation:" in path.read_text())


@pytest.fixture(autouse=True)
def in_the_tests_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _commands(path: Path, *overrides: str, form: str = "xcoder") -> list[list[str]]:
    lines = "\n".join(missing_commands(Ablation(path, overrides), form))
    return [shlex.split(line) for line in lines.splitlines() if not line.startswith("#")]


def test_every_arm_draws_from_the_tasks_that_have_as_many_solutions_as_any_arm_takes(recipe: MakeRecipe) -> None:
    pool, *arms = _commands(recipe(), "ablation.seeds=[0, 3]")
    assert pool[:2] == ["xcoder", "run"] and {"name=pool", "sft=null", "evaluation=null"} <= set(pool)
    assert [next(word for word in arm if word.startswith("name=")) for arm in arms] == [
        "name=8x1-seed0",
        "name=4x2-seed0",
        "name=8x1-seed3",
        "name=4x2-seed3",
    ]
    assert all("sft.data.minimum_solutions=2" in arm for arm in arms)
    assert len({word for arm in arms for word in arm if word.startswith("inputs.synth=runs/tiny/pool/synth/")}) == 1


def test_the_pool_is_the_same_whatever_the_seeds_and_arms(recipe: MakeRecipe) -> None:
    path = recipe()
    first = {word for arm in _commands(path)[1:] for word in arm if word.startswith("inputs.synth")}
    other = {word for arm in _commands(path, "ablation.seeds=[5]", "sft.batch=8") for word in arm}
    assert first <= other


def test_commands_for_accelerate_and_slurm_hold_the_same_settings(recipe: MakeRecipe) -> None:
    path, two = recipe(), ("sft.launch.processes=2", "sft.micro_batch=2")
    xcoder, slurm, accelerate = (_commands(path, *two, form=form) for form in ("xcoder", "slurm", "accelerate"))
    assert [line[2:] for line in xcoder] == [line[2:-2] for line in slurm]
    assert slurm[0][:2] == ["xcoder", "slurm"] and slurm[0][-2:] == ["|", "bash"]
    trained = [line for line in accelerate if "xcoder_train.sft" in line]
    assert [line[line.index("xcoder_train.sft") + 1 :] for line in trained] == [line[2:] for line in xcoder[1:]]
    assert all("launch" in line and line[line.index("--num_processes") + 1] == "2" for line in trained)


def test_what_differs_after_sft_alone_shares_one_sft_for_each_seed(recipe: MakeRecipe) -> None:
    rewards = "{all: {grpo.reward.kind: all}, fraction: {grpo.reward.kind: fraction}}"
    commands = _commands(
        recipe(),
        "synth.splits.unsolved={use: rl, tasks: 8, depth: [1]}",
        "grpo={prompts_per_step: 2, rollouts: 4, max_prompt_length: 256, max_completion_length: 60, "
        "training: {num_train_epochs: 1}}",
        f"ablation.axes={{tasks × solutions: null, reward: {rewards}}}",
        "ablation.paper=null",
        "ablation.seeds=[0, 1]",
        "evaluation.models=[sft, rl]",
        "ablation.metric.model=rl",
    )
    shared = [line for line in commands if any(word.startswith("name=start-seed") for word in line)]
    arms = [line for line in commands if "sft=null" in line and "grpo=null" not in line]
    assert len(shared) == 2 and len(arms) == 4
    assert all(any(word.startswith("inputs.sft=runs/tiny/start-seed") for word in arm) for arm in arms)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"tasks: 4, sft": "tasks: 5, sft"}, "equally many examples, found 8x1 = 8, 4x2 = 10"),
        ({"num_train_epochs: 2": "max_steps: 9"}, "arm 8x1 needs sft.training.num_train_epochs and no other length"),
        ({"equal: epochs": "equal: steps"}, "ablation.equal is steps; arm 8x1 needs sft.training.max_steps"),
        (
            {"sft.data.tasks: 4,": "sft.data.tasks: 4, sft.training.num_train_epochs: 4,"},
            "8x1: sft 2 epochs\n  4x2: sft 4",
        ),
        ({"equal: epochs": "equal: epochs\n  metric: {k: 4}"}, "pass@4 of the model `sft`, which `evaluation:`"),
        (
            {"equal: epochs": "equal: epochs\n  metric: {benchmark: held}"},
            "is 'held', and evaluation.benchmarks measures",
        ),
        ({"8x1: {sft": "8 x 1: {sft"}, "becomes part of a folder's name"),
        ({"percent: {8x1": "percent: {9x1"}, "paper.percent names '9x1', which is no arm"),
        ({"sft.data.tasks: 4,": "sft.data.tasks: 4, synth.inputs_per_task: 6,"}, "held-out tasks of its own"),
        ({"sft.data.tasks: 4,": "sft.data.task: 4,"}, "did you mean `tasks`?"),
    ],
)
def test_what_would_make_a_comparison_void_is_refused(recipe: MakeRecipe, replaced: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        Ablation(recipe(**replaced))
    assert said in str(refused.value)


def test_equal_tokens_are_a_length_of_sft_and_exclude_others(recipe: MakeRecipe) -> None:
    path = recipe(**{"equal: epochs": "equal: tokens", "num_train_epochs: 2, ": ""})
    with pytest.raises(InputError, match="arm 8x1 needs sft.tokens"):
        Ablation(path)
    assert Ablation(path, ["sft.tokens=5000"]).arms
    with pytest.raises(InputError, match="sft.tokens .5000. says how long to train"):
        load_recipe(path, ["sft.tokens=5000", "sft.training.max_steps=3"])


def test_an_arm_may_take_all_tasks_beside_one_that_takes_some(recipe: MakeRecipe) -> None:
    assert len(Ablation(recipe(**{"sft.data.tasks: 4,": "sft.data.tasks: null,"})).arms) == 2


def test_an_ablation_is_not_run_as_one_recipe(recipe: MakeRecipe) -> None:
    path = recipe()
    with pytest.raises(InputError, match="describes several runs: xcoder ablate"):
        run_recipe(path, [], None, break_lock=False)
    with pytest.raises(InputError, match="has no `ablation:` section"):
        Ablation(path, ["ablation=null"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_shipped_ablation_can_be_started(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent)
    for name in ("test4.jsonl", "test5.jsonl"):  # the files of the window, which are looked for and not read
        (tmp_path / name).touch()
    ablation = Ablation(path, [f"runs_dir={tmp_path}", f"evaluation.livecodebench_folder={tmp_path}"])
    wanted = len(ablation.arms) * len(ablation.settings.seeds)
    assert sum(1 for _ in ablation.runs()) == wanted >= 2
    assert ablation.settings.question.endswith("?")
