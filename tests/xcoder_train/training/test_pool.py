"""Arms that draw from one pool of tasks, start from one model, and train for one number of tokens."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.problem import Solution
from xcoder_core.records import read_records
from xcoder_core.stage import RESULT_FILE, SynthLayout, read_result
from xcoder_train.runs.stage import perform
from xcoder_train.sft.data import count_accepted, read_pool, select_rows
from xcoder_train.sft.settings import SftDataSettings


def test_the_pool_is_the_tasks_with_enough_accepted_solutions_verified_or_raw(synthesis: Path) -> None:
    layout = SynthLayout(synthesis)
    accepted = count_accepted(layout)
    candidates = Counter(solution.problem_id for solution in read_records(layout.solutions, Solution))
    assert any(candidates[problem_id] > count for problem_id, count in accepted.items())
    least = max(accepted.values())
    enough = {problem_id for problem_id, count in accepted.items() if count >= least}
    assert 0 < len(enough) < len(accepted)
    for verified in (True, False):
        view = SftDataSettings(minimum_solutions=least, verified=verified)
        assert {row["problem_id"] for row in read_pool(layout, view, "plain")} == enough
        everything = read_pool(layout, SftDataSettings(verified=verified), "plain")
        assert {row["problem_id"] for row in everything} == set(accepted)


def test_arms_with_fewer_solutions_take_their_tasks_from_the_pool_of_the_arm_with_most(synthesis: Path) -> None:
    layout = SynthLayout(synthesis)
    most = max(count_accepted(layout).values())
    chosen = {}
    for solutions in (1, most):
        view = SftDataSettings(minimum_solutions=most, solutions_per_task=solutions, tasks=2)
        rows = select_rows(read_pool(layout, view, "plain"), view, 4)
        chosen[solutions] = {row["problem_id"] for row in rows}
        assert len(rows) == 2 * solutions
    assert chosen[1] == chosen[most]


def test_a_pool_that_is_too_small_is_refused_with_its_rule(synthesis: Path) -> None:
    view = SftDataSettings(minimum_solutions=3, tasks=500)
    pool = read_pool(SynthLayout(synthesis), view, "plain")
    with pytest.raises(InputError, match=r"the dataset has \d+ with at least 3 accepted solutions"):
        select_rows(pool, view, 0)


def test_arms_start_from_one_model_and_a_number_of_tokens_sets_the_steps(
    stage: Callable[..., Any], tmp_path: Path
) -> None:
    starts = []
    for tasks in (4, 8):
        length = {"tokens": 3000, "training": {"max_steps": None}}
        recipe, context = stage("sft", tmp_path / str(tasks), data={"tasks": tasks}, **length)
        perform(recipe, context)
        figures = read_result(context.folder)
        per_step = figures["examples_per_step"] * figures["tokens"] / figures["examples"]
        assert 3000 <= figures["trained_tokens"] < 3000 + per_step + 1
        files = [context.folder / "base" / name for name in ("tokenizer.json", "model.safetensors")]
        starts.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert starts[0] == starts[1]
    assert (tmp_path / "8" / RESULT_FILE).is_file()
