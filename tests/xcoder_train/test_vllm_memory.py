"""vLLM's part of a device beside the trainer: its arithmetic, what is chosen, what is refused, and the page's table."""

import re
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.models.folder import KNOWN, ModelShape
from xcoder_train.grpo.memory import GIB, WORKING, EngineMemory, engine_memory, fitting_engine, rollouts_at_once
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.keys import stage_key

ROOT = Path(__file__).parents[2]
SHAPE = KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"]
SMALL = ModelShape("qwen3", 512, 1536, 8, 8, 4, 64, 1024, 2048, False)
FULL = "recipes/xcoder-qwen2.5-7b.yaml"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def settings(**changed: Any) -> GrpoSettings:
    """Adapters on one device, as in recipes/xcoder-qwen2.5-7b-lora.yaml."""
    section = {
        "generation": "vllm_colocate",
        "prompts_per_step": 16,
        "max_completion_length": 14336,
        "micro_batch": 1,
        "lora": {"rank": 32, "alpha": 64},
        **changed,
    }
    return GrpoSettings.model_validate(section)


def planned(*overrides: str, recipe: str = FULL) -> dict[str, Any]:
    figures: dict[str, Any] = make_plan(Path(recipe), overrides).figures["stages"]["grpo"]["vllm"]
    return figures


def test_the_cache_is_what_weights_and_working_memory_leave_of_the_share() -> None:
    memory = engine_memory(SHAPE, settings(), 79 * GIB)
    assert memory.bytes_per_token == 28 * 4 * 128 * 2 * 2 == 57_344  # layers, heads, head, keys and values, bytes
    assert memory.weights == 2 * (7_615_616_512 + 80_740_352)  # with the adapters, in its own layers
    assert memory.sleeps  # 128 rollouts of 16,836 tokens would be 115 GiB
    frozen, adapters = 2 * 7_615_616_512, 12 * 80_740_352
    assert memory.trainer_sampling == frozen + adapters  # weights and moments; no gradients by then
    assert memory.share == int((0.9 * 79 * GIB - memory.trainer_sampling) * 100 / (79 * GIB)) / 100
    assert memory.cache == int(memory.share * 79 * GIB) - memory.weights - 2 * GIB
    at_once = rollouts_at_once(settings(), memory.cache_tokens, memory.asked)
    assert at_once == int(memory.cache_tokens / (2500 + 7168)) > memory.at_full_length > 0
    assert memory.sampling <= 0.9 * 79 * GIB and memory.training == memory.trainer_training + 2 * GIB


def test_vllm_gets_no_more_than_a_steps_rollouts_need_and_stays_awake_where_that_fits() -> None:
    memory = engine_memory(SMALL, settings(lora=None, max_prompt_length=256, max_completion_length=512), 79 * GIB)
    assert not memory.sleeps
    needed = memory.weights + WORKING + 128 * 768 * memory.bytes_per_token
    assert needed <= memory.share * memory.device < needed + 0.01 * memory.device + 1
    assert memory.asked == 128 <= memory.at_full_length


def test_what_the_recipe_gives_stays() -> None:
    def chosen(**training: Any) -> EngineMemory:
        return engine_memory(SHAPE, settings(training=training), 141 * GIB)

    assert chosen().sleeps and not chosen(vllm_enable_sleep_mode=False).sleeps
    assert chosen(vllm_enable_sleep_mode=False).cache < chosen().cache
    given = chosen(vllm_gpu_memory_utilization=0.3)
    assert (given.share, given.sleeps) == (0.3, False)  # so little fits beside the trainer without sleep
    assert chosen(vllm_gpu_memory_utilization=0.88).sleeps
    assert rollouts_at_once(settings(max_num_seqs=5), 10**9, 128) == 5
    assert rollouts_at_once(settings(max_num_seqs=500), 10**9, 128) == 128
    assert rollouts_at_once(settings(), 100, 128) == 1


def test_what_an_engine_is_handed_at_once_is_that_of_a_whole_round_or_of_a_batch() -> None:
    def asked(**changed: Any) -> tuple[int, int]:
        memory = engine_memory(SMALL, settings(lora=None, **changed), 79 * GIB)
        return memory.asked, rollouts_at_once(settings(lora=None, **changed), 10**9, memory.asked)

    dynamic = {"rounds": 2, "oversample": 1.6}
    assert asked() == asked(dynamic_sampling={"rounds": 2}) == (128, 128)
    assert asked(dynamic_sampling=dynamic) == (26 * 8, 128)  # for more than a set TRL makes no engine
    assert asked(dynamic_sampling=dynamic, updates_per_rollouts=2) == (52 * 8, 256)
    assert asked(vllm_batch=48) == asked(vllm_batch=48, dynamic_sampling=dynamic) == (48, 48)
    assert asked(vllm_batch=500) == (128, 128)
    halves = {"launch": {"processes": 2}, "training": {"vllm_tensor_parallel_size": 2}}
    assert asked(vllm_batch=48, **halves) == (96, 96)
    assert asked(dynamic_sampling=dynamic, **halves) == (26 * 8, 128)


def test_a_cache_is_made_for_no_more_than_an_engine_decodes_together() -> None:
    def cache(**changed: Any) -> int:
        return engine_memory(SMALL, settings(lora=None, **changed), 141 * GIB).cache

    assert cache(dynamic_sampling={"rounds": 2, "oversample": 1.6}) == cache() > 7 * GIB
    few = 16 * 16836 * engine_memory(SMALL, settings(), 79 * GIB).bytes_per_token
    for changed in ({"vllm_batch": 16}, {"max_num_seqs": 16}):
        assert few <= cache(**changed) < few + 0.01 * 141 * GIB + 1


def test_devices_that_share_an_engine_share_its_weights_its_cache_and_its_rollouts() -> None:
    one = engine_memory(SHAPE, settings(launch={"processes": 2}), 79 * GIB)
    both = engine_memory(SHAPE, settings(launch={"processes": 2}, training={"vllm_tensor_parallel_size": 2}), 79 * GIB)
    assert (both.weights, both.bytes_per_token) == (one.weights // 2, one.bytes_per_token // 2)
    assert (one.asked, both.asked) == (64, 128)
    assert both.cache_tokens > 2 * one.cache_tokens


def test_what_is_said_to_fit_fits_and_more_memory_is_never_worse() -> None:
    found = set()
    for completion in (1024, 14336, 30196):
        for changed in ({}, {"lora": None}, {"training": {"vllm_gpu_memory_utilization": 0.5}}):
            held_before, did_fit = 0, False
            for gib in range(8, 256, 8):
                memory = engine_memory(SHAPE, settings(max_completion_length=completion, **changed), gib * GIB)
                found.add(memory.fits)
                if memory.fits:
                    assert max(memory.sampling, memory.training) <= memory.usable
                    assert memory.cache_tokens >= memory.longest
                    assert memory.trainer_sampling + memory.weights + WORKING + memory.cache <= memory.usable
                held = min(memory.cache_tokens, memory.asked * memory.longest)
                assert held >= held_before and memory.fits >= did_fit
                held_before, did_fit = held, memory.fits
    assert found == {True, False}


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        (FULL, ["grpo.launch.hardware.memory_gib=23.5"]),
        (FULL, ["grpo.launch.hardware.memory_gib=30"]),
        (FULL, ["grpo.training.vllm_gpu_memory_utilization=0.2"]),
        (FULL, ["grpo.training.vllm_gpu_memory_utilization=0.95"]),
        ("recipes/xcoder-qwen2.5-7b-lora.yaml", ["grpo.launch.hardware.memory_gib=40", "grpo.micro_batch=4"]),
        ("recipes/xcoder-qwen2.5-7b-lora.yaml", ["grpo.training.vllm_enable_sleep_mode=false", "grpo.micro_batch=8"]),
        (FULL, ["grpo.launch.hardware.memory_gib=32", "grpo.training.vllm_max_model_length=32768"]),
        ("recipes/xcoder-qwen3-8b.yaml", ["grpo.launch.hardware.memory_gib=32"]),
    ],
)
def test_what_cannot_fit_is_refused_with_a_proposal_that_does(recipe: str, overrides: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        planned(*overrides, recipe=recipe)
    said = str(refused.value)
    sizes = [float(size) for size in re.findall(r"([\d.]+) GiB of the trainer", said)]
    assert len(sizes) == 2 and "While sampling" in said and "While training" in said
    proposal = re.search(r"This fits: ([^;]+); or a device of (\d+) GiB", said)
    assert proposal, said
    assert planned(*overrides, *proposal[1].split(), recipe=recipe)["cache_tokens"] > 0
    chosen = ["grpo.training.vllm_gpu_memory_utilization=null", "grpo.training.vllm_max_model_length=null"]
    chosen += ["grpo.training.vllm_enable_sleep_mode=true"]
    size = int(proposal[2])
    planned(*overrides, *chosen, f"grpo.launch.hardware.memory_gib={size}", recipe=recipe)
    with pytest.raises(InputError):
        planned(*overrides, *chosen, f"grpo.launch.hardware.memory_gib={size - 1}", recipe=recipe)


def test_where_no_rollout_fits_the_ways_out_are_others() -> None:
    with pytest.raises(InputError, match=r"No shorter rollouts fit: shard .*vllm_server.* a device of (\d+) GiB"):
        fitting_engine(SHAPE, settings(), int(23.5 * GIB))


def test_the_plan_shows_both_parts_in_both_phases(tmp_path: Path) -> None:
    text = " ".join(make_plan(Path(FULL), []).text.split())
    found = planned()
    assert f"{found['at_once']} of 128 rollouts at a time; none is computed again while those in progress have" in text
    assert f"= {found['cache_tokens']:,} tokens" in text
    assert re.search(r"sampling [\d.]+ GiB of 71.1 GiB: trainer 10.6 GiB, vLLM awake [\d.]+ GiB", text)
    assert "training 28.8 GiB of 71.1 GiB: trainer 26.8 GiB, vLLM asleep 2.0 GiB" in text
    unknown = make_plan(Path(FULL), ["grpo.launch.hardware.memory_gib=null"])
    assert unknown.figures["stages"]["grpo"]["vllm"] is None
    assert "grpo.launch.hardware.memory_gib=79 shows it here" in " ".join(unknown.text.split())
    assert "vLLM" not in make_plan(Path(FULL), ["grpo.generation=vllm_server"]).text


def test_how_many_rollouts_run_together_and_what_a_device_holds_move_no_key() -> None:
    def key(*overrides: str) -> str:
        return stage_key(load_recipe(Path(FULL), list(overrides)), "grpo")

    assert key() == key("grpo.max_num_seqs=7") == key("grpo.launch.hardware.memory_gib=40")
    assert key() != key("grpo.training.vllm_gpu_memory_utilization=0.5")  # as it was before


def rows_of_the_page() -> list[list[str]]:
    page = (ROOT / "docs" / "grpo.md").read_text(encoding="utf-8")
    table = page.partition("<!-- vLLM's memory -->")[2].partition("<!-- end -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("cells", rows_of_the_page(), ids=lambda cells: f"{cells[0]} {cells[1]}")
def test_the_page_has_the_plans_figures(cells: list[str]) -> None:
    recipe, gib, *shown = cells
    arguments = [f"grpo.launch.hardware.memory_gib={gib}"]
    path = f"recipes/{recipe.strip('`')}"
    if shown[0].startswith("refused"):
        with pytest.raises(InputError) as refused:
            planned(*arguments, recipe=path)
        assert shown[0].partition(": ")[2].strip("`") in str(refused.value)
        return
    found = planned(*arguments, recipe=path)
    told = [
        f"{found['trainer_sampling'] / GIB:.1f}",
        f"{found['trainer_training'] / GIB:.1f}",
        f"{found['share']:.2f}",
        f"{found['weights'] / GIB:.1f}",
        f"{found['cache'] / GIB:.1f}",
        f"{found['cache_tokens']:,}",
        f"{found['at_once']} of {found['asked']}",
        str(found["at_full_length"]),
        "yes" if found["sleeps"] else "no",
    ]
    assert shown == told


def test_the_page_has_every_recipe_with_colocated_rollouts_on_all_three_devices() -> None:
    recipes = {path.name for path in (ROOT / "recipes").glob("xcoder-*.yaml")}
    assert {(cells[0].strip("`"), cells[1]) for cells in rows_of_the_page()} == {
        (name, gib) for name in recipes for gib in ("23.5", "79", "139.5")
    }
