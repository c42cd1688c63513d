"""Running pass rates: which prompts they prefer, that the others come back, that a resumed run has the same ones."""

import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from reward.trl import Worth
from reward.verdict import Verdict
from tests.xcoder_train.training.credit_run import MANY_PROBLEMS, PROMPTS_PER_STEP, problem_number, run, train
from xcoder_core.share import Share
from xcoder_train.grpo.online_rates import OnlineRates
from xcoder_train.grpo.prompts import PromptOrder
from xcoder_train.grpo.rollout_files import Group, Rollout, RolloutFiles
from xcoder_train.grpo.settings import OnlineRatesSettings
from xcoder_train.runs.stage import perform

NAMES = [f"problem {number}" for number in range(10)]


def _rates(**settings: float) -> OnlineRates:
    return OnlineRates(OnlineRatesSettings(**settings), PromptOrder(len(NAMES), seed=3), NAMES)


def _group(name: str, verdicts: list[str], slot: int = 0) -> Group:
    worths = [Worth(None if verdict == "IE" else 1.0, verdict, 0, 0.0, None, False) for verdict in verdicts]
    return [Rollout(0, slot, number, name, (1,), (-0.1,), worth) for number, worth in enumerate(worths)]


def _logged() -> tuple[dict[str, list[float]], Callable[[str, float], None]]:
    logged: dict[str, list[float]] = defaultdict(list)
    return logged, lambda name, value: logged[name].append(value)


def _ask(rates: OnlineRates, slots: range, solved: dict[str, int], taken: frozenset[str] = frozenset()) -> list[str]:
    """The chosen problems, of which each is solved that often in eight rollouts."""
    chosen = rates.choose(slots, taken)
    verdicts = {name: ["AC"] * solved[name] + ["WA"] * (8 - solved[name]) for name in chosen}
    rates.learn([_group(name, verdicts[name], slot) for slot, name in zip(slots, chosen, strict=True)], _logged()[1])
    return chosen


def test_a_running_rate_moves_by_what_it_does_not_keep() -> None:
    rates, (logged, log) = _rates(keep=0.75), _logged()
    rates.learn([_group("problem 4", ["AC", "AC", "AC", "WA"], slot=7)], log)
    assert rates.rates == {"problem 4": 0.75} and rates.asked == {"problem 4": 7}
    rates.learn([_group("problem 4", ["WA"] * 4, slot=9), _group("problem 5", ["TLE", "AC"], slot=10)], log)
    assert rates.rates == {"problem 4": 0.75 * 0.75, "problem 5": 0.5} and rates.asked["problem 4"] == 9
    # One that was never asked is expected to have the mean of the others; before there is one, the target.
    assert logged["rates/expected"] == [0.5, 0.75, 0.75]
    assert logged["rates/solved"] == [0.75, 0.0, 0.5]
    assert logged["rates/asked_before"] == [0.0, 1.0, 0.0]


def test_what_the_judge_could_not_tell_moves_no_rate_and_waits_its_turn_again() -> None:
    rates, (logged, log) = _rates(), _logged()
    rates.learn([_group("problem 1", ["IE", "IE"]), _group("problem 2", ["IE", "AC"], slot=1)], log)
    assert rates.rates == {"problem 2": 1.0} and rates.asked == {"problem 1": 0, "problem 2": 1}
    assert logged["rates/solved"] == [1.0]


def test_prompts_near_the_target_come_in_turn_then_the_nearest_of_the_others() -> None:
    rates = _rates(target=0.5, within=0.2, revisit=0)
    usual = [NAMES[row] for row in rates.order.of_epoch(0)]
    assert rates.choose(range(4), ()) == usual[:4]  # nothing is known yet
    rates.rates = dict(zip(NAMES, [0.0, 1.0, 0.4, 0.7, 0.5, 0.1, 0.9, 0.25, 0.75, 0.6], strict=True))
    near = [name for name in usual if name in ("problem 2", "problem 3", "problem 4", "problem 9")]
    ties = [name for name in usual if name in ("problem 7", "problem 8")]
    assert rates.choose(range(6), ()) == [*near, *ties]
    rates.asked = {near[0]: 5, near[2]: 4}
    assert rates.choose(range(6), ()) == [near[1], near[3], near[2], near[0], *ties]


def test_no_set_asks_a_prompt_twice_while_there_are_others() -> None:
    rates = _rates()
    rates.rates = {**dict.fromkeys(NAMES, 0.0), "problem 4": 0.5}
    assert "problem 4" in rates.choose(range(1), ())
    assert "problem 4" not in rates.choose(range(9), {"problem 4"})
    assert rates.choose(range(10), {"problem 4"})[-1] == "problem 4"
    assert Counter(rates.choose(range(13), ())).most_common(1)[0][1] == 2


@pytest.mark.parametrize(("each", "revisit"), [(4, 0.25), (3, 0.4), (1, 0.3)])
def test_every_prompt_comes_back_though_it_is_far_from_the_target(each: int, revisit: float) -> None:
    """Also where rounds ask for so few that a share of them is no whole prompt."""
    rates = _rates(revisit=revisit)
    solved = dict.fromkeys(NAMES, 0) | {"problem 2": 4, "problem 6": 4, "problem 7": 4, "problem 8": 4}
    asked: list[str] = []
    for start in range(0, 120, each):
        asked += _ask(rates, range(start, start + each), solved)
    counts = Counter(asked)
    most_between = len(NAMES) / revisit + each
    for name in NAMES:
        places = [place for place, one in enumerate(asked) if one == name]
        assert max(later - earlier for earlier, later in zip(places, places[1:], strict=False)) <= most_between
    near = min(count for name, count in counts.items() if solved[name])
    far = max(count for name, count in counts.items() if not solved[name])
    assert near > far


def test_a_prompt_that_becomes_too_easy_gives_way() -> None:
    rates = _rates(revisit=0, keep=0.5)
    rates.rates = dict.fromkeys(NAMES, 0.2) | {"problem 3": 0.5}
    solved = dict.fromkeys(NAMES, 1) | {"problem 3": 8}
    chosen = [_ask(rates, range(slot, slot + 1), solved)[0] for slot in range(4)]
    assert chosen[:2] == ["problem 3", "problem 3"] and rates.rates["problem 3"] == 0.875
    assert "problem 3" not in chosen[2:]


def test_prompts_within_the_stated_distance_take_turns_where_the_nearest_alone_would_come_every_time() -> None:
    chance, most = random.Random(0), {}
    for within in (0.0, 0.25):
        rates, counts = _rates(within=within), Counter[str]()
        for start in range(0, 200, 2):
            solved = {name: sum(chance.random() < number / 9 for _ in range(8)) for number, name in enumerate(NAMES)}
            counts.update(_ask(rates, range(start, start + 2), solved))
        most[within] = counts.most_common(1)[0][1]
    assert most[0.0] > 1.5 * most[0.25]


def test_pass_rates_that_were_measured_before_are_where_the_running_ones_begin() -> None:
    measured = [number / 10 for number in range(10)]
    rates = OnlineRates(OnlineRatesSettings(within=0, revisit=0), PromptOrder(10, 3, measured, mixing=0), NAMES)
    assert rates.choose(range(1), ()) == ["problem 5"]
    rates.learn([_group("problem 5", ["AC"] * 4)], _logged()[1])
    assert rates.rates["problem 5"] == 0.75


def test_rollouts_of_another_problem_in_the_same_slot_are_not_taken_for_it(tmp_path: Path) -> None:
    """As where a run goes on with another number of processes, whose rounds ask for other prompts."""
    files = RolloutFiles(tmp_path)
    files.append(_group("problem 1", ["AC", "WA"]), Share(0, 1))
    RolloutFiles(tmp_path).append(_group("problem 2", ["AC", "WA"]), Share(0, 2))
    for name in ("problem 1", "problem 2"):
        found = files.of_step(0, {0: name})
        assert {one.problem_id for one in found.values()} == {name} and len(found) == 2
    assert not files.of_step(0, {0: "problem 3"})


def _asked(folder: Path) -> dict[int, list[int]]:
    """Problems whose rollouts reached the loss, by step; with several processes, of the first."""
    asked: dict[int, list[int]] = defaultdict(list)
    for row in json.loads((folder / "rows-0.json").read_text()):
        asked[row["step"]].append(problem_number(row["prompt"]))
    return asked


def test_a_trainer_prefers_the_prompts_that_it_solves_as_often_as_stated_and_revisits_the_others(
    tmp_path: Path,
) -> None:
    """Problem n of 24 is solved in n of 23 rollouts."""
    train(tmp_path / "run", 1, graded=True, online_rates={"within": 0.2}, max_steps=30, save_strategy="no")
    asked = _asked(tmp_path / "run")
    later = Counter(problem for step in range(9, 31) for problem in set(asked[step]))
    near = sum(later[problem] for problem in range(8, 16)) / 8
    far = sum(later[problem] for problem in (0, 1, 2, 3, 20, 21, 22, 23)) / 8
    assert near > 2 * far > 0
    first = {problem for step in range(1, 31) for problem in asked[step]}
    assert first == set(range(MANY_PROBLEMS))
    log = json.loads((tmp_path / "run" / "log-0.json").read_text())
    assert (log[0]["rates/expected"], log[0]["rates/asked_before"]) == (0.5, 0.0)
    solved = [line["verdicts/AC"] for line in log if "rates/solved" in line]
    assert solved == pytest.approx([line["rates/solved"] for line in log if "rates/solved" in line])


def test_without_online_rates_nothing_is_kept_and_with_them_the_first_set_is_the_usual_one(tmp_path: Path) -> None:
    plain, online = tmp_path / "plain", tmp_path / "online"
    train(plain, 1, dynamic_sampling={"rounds": 1, "oversample": 1.0}, max_steps=2)
    train(online, 1, online_rates={}, max_steps=2)
    rows = [json.loads((folder / "rows-0.json").read_text()) for folder in (plain, online)]
    first = [[row for row in own if row["step"] == 1] for own in rows]
    assert first[0] == first[1]
    kept = [
        json.loads((folder / "checkpoints" / "checkpoint-2" / "trainer_state.json").read_text())["stateful_callbacks"]
        for folder in (plain, online)
    ]
    assert kept[0]["Groups"]["attributes"].keys() == {"cursor", "surplus"}
    rates = kept[1]["Groups"]["attributes"]["rates"]
    assert len(rates["asked"]) == 2 * PROMPTS_PER_STEP and rates["rates"].keys() <= rates["asked"].keys()
    assert not any(
        name.startswith("rates/") for line in json.loads((plain / "log-0.json").read_text()) for name in line
    )


@pytest.mark.parametrize(
    ("processes", "changed"),
    [
        (1, {}),
        (1, {"dynamic_sampling": {"rounds": 6, "oversample": 2.0}}),
        (1, {"updates_per_rollouts": 2}),
        pytest.param(2, {}, marks=pytest.mark.slow),
        pytest.param(2, {"dynamic_sampling": {"rounds": 6, "oversample": 2.0}}, marks=pytest.mark.slow),
        pytest.param(2, {"updates_per_rollouts": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_has_the_same_rates_and_asks_the_same_prompts(
    processes: int, changed: dict[str, Any], tmp_path: Path
) -> None:
    """What it has sampled since its checkpoint is gone."""
    given = {"online_rates": {"keep": 0.3}, "max_steps": 6, **changed}
    whole, resumed = run(tmp_path / "whole", processes, **given), tmp_path / "resumed"
    shutil.copytree(whole / "checkpoints" / "checkpoint-4", resumed / "checkpoints" / "checkpoint-4")
    shutil.copytree(whole / "rollouts", resumed / "rollouts", ignore=shutil.ignore_patterns("step-*[45]-*"))
    run(resumed, processes, resumed / "checkpoints" / "checkpoint-4", **given)
    for rank in range(processes):
        rows, own = (json.loads((folder / f"rows-{rank}.json").read_text()) for folder in (whole, resumed))
        assert own == [row for row in rows if row["step"] > 4]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    states = [folder / "checkpoints" / "checkpoint-6" / "trainer_state.json" for folder in (whole, resumed)]
    kept = [json.loads(file.read_text())["stateful_callbacks"]["Groups"] for file in states]
    assert kept[0] == kept[1]
    asked = kept[0]["attributes"]["rates"]["asked"]
    assert len(asked) < kept[0]["attributes"]["cursor"]  # some were asked again, as the rates said


@pytest.mark.slow
def test_two_processes_ask_what_one_asks(tmp_path: Path) -> None:
    for name, processes in {"one": 1, "two": 2}.items():
        run(tmp_path / name, processes, online_rates={}, max_steps=6)

    def trained(folder: Path) -> list[tuple[Any, ...]]:
        rows = [row for file in sorted(folder.glob("rows-*.json")) for row in json.loads(file.read_text())]
        return sorted((row["step"], row["prompt"], row["completion"]) for row in rows)

    assert trained(tmp_path / "one") == trained(tmp_path / "two")


def test_a_stage_begins_with_the_pass_rates_of_its_curriculum_and_its_rollouts_can_be_trained_on_again(
    by_heart: Path, tmp_path: Path, stage: Callable[..., Any], synthesis: Path
) -> None:
    from xcoder_core.records import read_table
    from xcoder_core.stage import SynthLayout

    names = read_table(SynthLayout(synthesis).dataset("rl") / "train.parquet")["problem_id"].to_pylist()
    rates = {name: (0.5 if place in (2, 5) else 0.05) for place, name in enumerate(names)}
    table = pyarrow.table({"problem_id": list(rates), "pass_rate": list(rates.values())})
    pyarrow.parquet.write_table(table, tmp_path / "rates.parquet")
    changed: dict[str, Any] = {"training": {"max_steps": 2}, "rollout_batch": 8}
    curriculum = {"pass_rates": str(tmp_path / "rates.parquet")}
    online = {"curriculum": curriculum, "online_rates": {"revisit": 0}, "keep_rollouts": True}
    perform(*stage("grpo", tmp_path / "run", {"sft": by_heart}, **changed, **online))
    groups = [group[0] for group in RolloutFiles(tmp_path / "run" / "rollouts").groups(4)]
    assert {one.problem_id for one in groups[:2]} == {names[2], names[5]}
    assert all(one.worth.verdict != Verdict.IE for one in groups)
    figures = json.loads((tmp_path / "run" / "stage.json").read_text())
    assert figures["rollouts"] == 2 * 2 * 4
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["rates/expected"] == 0.5
    perform(*stage("grpo", tmp_path / "again", {"sft": by_heart}, **changed, rollouts_from=tmp_path / "run"))
    assert json.loads((tmp_path / "again" / "stage.json").read_text())["steps"] == 2
