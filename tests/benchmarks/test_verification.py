"""The study of dual verification: its stored outputs, its error model and its trials are what they say."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.error_model import (
    CRASHED,
    ErrorModel,
    draw_crowd,
    draw_luck,
    fit,
    majority_labels,
    outputs_of,
    predicted_figures,
    published_experiment,
)
from benchmarks.known_tasks import STYLES, KnownTasks, draw_known_tasks
from benchmarks.verification_trial import Trial, best_share, draw_ballots, rate, run_trial
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from synth.config import VerificationSettings
from synth.procedural.input_forms import read_instance
from synth.procedural.task import draw_inputs, draw_task
from synth.procedural.teacher import mistakes
from synth.voting import verify, vote_of
from tests.synth.right_programs import right_programs

MODEL = ErrorModel(skill=1.5, spread=2.0, common=0.6, subtlety=1.0)
PLAIN = VerificationSettings(
    vote="majority",
    hold_out=0,
    minimum_agreement=0,
    minimum_task_agreement=0,
    minimum_tests=2,
    drop_solved_by_one=False,
)


@pytest.fixture(scope="module")
def tasks() -> KnownTasks:
    return draw_known_tasks(240, seed=1)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(workers=1)) as judge:
        yield judge


def test_programs_print_in_the_judge_what_their_pipelines_answer(judge: Judge) -> None:
    """Why the study may use the pipelines' reference functions in place of executions."""
    for number in range(6):
        task = draw_task(number, 1 + number % 4, STYLES[number % 3])
        texts = draw_inputs(task.pipeline, 6, number)
        printed, answers = [], []
        for pipeline in (task.pipeline, *mistakes(task.pipeline, random.Random(number))[:2]):
            program = right_programs(pipeline)[-1]
            asked = Submission("known", program, texts, (None,) * 6, function_name=task.problem.function_name)
            runs = next(judge.execute([asked])).runs
            printed += [vote_of(run.output or "", task.problem.io) for run in runs]
            answers += [repr(pipeline.answer(read_instance(pipeline.form, text))) for text in texts]
        for one in range(len(answers)):
            for other in range(one):
                assert (printed[one] == printed[other]) is (answers[one] == answers[other])


def test_program_0_is_right_and_every_other_errs_in_its_own_way(tasks: KnownTasks) -> None:
    assert (tasks.outputs[:, 0] == 0).all()
    for outputs, count in zip(tasks.outputs, tasks.programs, strict=True):
        rows = {tuple(row) for row in outputs[:count].tolist()}
        assert len(rows) == count >= 2


def test_the_crowd_errs_at_the_rates_of_its_model(tasks: KnownTasks) -> None:
    model = ErrorModel(skill=0.0, spread=0.0, common=0.7, subtlety=0.0, slope=0.0, crashed=0.25)
    crowd = draw_crowd(model, tasks, draw_luck(len(tasks), 16, tasks.outputs.shape[1], seed=2))
    right, crashed = crowd.programs == 0, crowd.programs == CRASHED
    common = crowd.programs == crowd.common_mistake[:, np.newaxis]
    has_choice = (tasks.programs > 2)[:, np.newaxis]
    assert right.mean() == pytest.approx(0.5, abs=0.03)
    assert crashed.mean() == pytest.approx(0.125, abs=0.02)
    assert common[has_choice[:, 0]].mean() == pytest.approx(0.375 * 0.7, abs=0.03)


def test_misread_tasks_look_like_others_and_nobody_is_right(tasks: KnownTasks) -> None:
    luck = draw_luck(len(tasks), 16, tasks.outputs.shape[1], seed=2)
    crowd, misread = (draw_crowd(replace(MODEL, misread=share), tasks, luck) for share in (0.0, 1.0))
    assert not (misread.programs == 0).any()
    assert (misread.programs[crowd.programs == 0] > 0).all()
    assert (misread.programs[crowd.programs != 0] == crowd.programs[crowd.programs != 0]).all()


def test_vectorised_majority_is_the_vote_of_synthesis(tasks: KnownTasks) -> None:
    crowd = draw_crowd(MODEL, tasks, draw_luck(len(tasks), 5, tasks.outputs.shape[1], seed=4))
    votes = outputs_of(crowd, tasks)
    labels = majority_labels(votes, np.zeros((*votes[:, 0].shape, 1 + tasks.outputs.max())))
    compared = 0
    for task in range(60):
        written = [[None if vote == CRASHED else str(vote) for vote in row] for row in votes[task].tolist()]
        for label in verify(written, 5, list(range(votes.shape[2])), PLAIN, seed=0).labels:
            assert label.vote == str(labels[task, label.input])
            compared += 1
    assert compared > 900


def test_the_published_experiment_counts_labels_and_whole_golden_solutions() -> None:
    votes = np.array([[[0, 0, 1], [0, 0, 1], [0, 0, 0]], [[0, 0, 0], [2, 0, 0], [3, 3, 0]], [[CRASHED] * 3] * 3])
    ties = np.zeros((3, 3, 4))
    assert published_experiment(votes, ties) == (5 / 9, 1 / 3)


def test_the_fit_comes_back_to_figures_that_a_model_made(tasks: KnownTasks) -> None:
    luck = draw_luck(len(tasks), 16, tasks.outputs.shape[1], seed=9)
    ties = np.random.default_rng(9).random((*tasks.outputs[:, 0].shape, 1 + tasks.outputs.max()))
    target = predicted_figures(replace(MODEL, skill=2.4), tasks, luck, ties)
    start = replace(MODEL, skill=0.5)
    before = np.sqrt(np.mean((predicted_figures(start, tasks, luck, ties) - target) ** 2))
    found = fit(start, tasks, target, seed=9, rounds=4)
    assert before > 0.05 and found.error < 0.012


def test_aids_do_what_they_are_for(tasks: KnownTasks) -> None:
    model = ErrorModel(skill=2.0, spread=2.5, common=0.8, subtlety=1.0)
    luck = draw_luck(len(tasks), 8, tasks.outputs.shape[1], seed=6)
    ballots = draw_ballots(model, tasks, luck, seed=7)
    plain, validated, slow = (run_trial(ballots, 8, PLAIN, *aids) for aids in ((), (True,), (False, True)))
    assert validated.labels_right.sum() / validated.labels.sum() > plain.labels_right.sum() / plain.labels.sum() + 0.02
    assert slow.golden_right[slow.kept].mean() > plain.golden_right[plain.kept].mean()
    assert slow.kept.sum() < plain.kept.sum()


def test_rates_and_frontiers_count_what_they_say() -> None:
    assert rate(np.array([1, 1, 1, 0]), np.ones(4)).value == 0.75
    assert rate(np.array([1, 1, 1, 0]), np.ones(4)).half_width == pytest.approx(1.96 * (0.75 * 0.25 / 4) ** 0.5)
    kept, right = np.array([True, True, True, False]), np.array([True, True, False, True])
    trial = Trial(kept, right, np.array([0.9, 0.8, 0.7, 1.0]), np.zeros(4), np.ones(4), np.ones(4))
    assert [best_share(trial, share, trial.agreement).value for share in (0.25, 0.5, 0.75)] == [1, 1, 2 / 3]
    assert np.isnan(best_share(trial, 1.0, trial.agreement).value)


def test_the_quick_study_writes_its_tables_and_its_plot(tmp_path: Path) -> None:
    project = Path(__file__).parents[2]
    output, plot = tmp_path / "study.json", tmp_path / "study.png"
    command = [sys.executable, "-m", "benchmarks.verification", "--quick", "--output", output, "--plot", plot]
    subprocess.run(command, check=True, cwd=project, capture_output=True)
    found = json.loads(output.read_text())
    assert len(found["table"]) == 3 * 4 * 5 and len(found["sensitivity"]) == len(found["fits"]) == 2
    assert all(0.5 < row["golden_full_pass"]["value"] <= 1 for row in found["table"])
    assert "## Comparison under the best fit" in output.with_suffix(".md").read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
