"""A tree grows by siblings and by finer features, round after round, and the same tree grows the same way."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import OpenAIServer

from synth.features.config import EvolutionSettings
from synth.features.questions import (
    SHOWN,
    BranchQuestion,
    FeatureAnswer,
    branch_questions,
    evolve_features,
    read_finer,
    read_siblings,
)
from synth.features.tree import FeatureTree, seed_tree, tree_from_nested
from synth.prompts import AnswerError
from xcoder_core.records import read_records

START = {"algorithm": {"shortest path": ["Dijkstra"], "sorting": []}, "complexity": ["O(n)"]}


def evolved(
    folder: Path, model_answer: Callable, interview: Callable, **changed: int
) -> tuple[FeatureTree, OpenAIServer]:
    tree = tree_from_nested(START)
    settings = EvolutionSettings.model_validate({"rounds": 2, **changed})
    with OpenAIServer(model_answer) as server, interview(server, folder / "answers.parquet") as asked:
        evolve_features(tree, settings, asked, folder, seed=1)
    return tree, server


def test_each_round_adds_siblings_and_finer_features_to_the_tree_of_the_round_before(
    tmp_path: Path, model_answer: Callable, interview: Callable
) -> None:
    tree, _ = evolved(tmp_path, model_answer, interview, rounds=1)
    assert set(tree.leaves()) == {
        "algorithm/algorithm sibling",
        "algorithm/shortest path/Dijkstra/finer Dijkstra",
        "algorithm/shortest path/shortest path sibling",
        "algorithm/sorting/finer sorting",
        "complexity/complexity sibling",
        "complexity/O(n)/finer O(n)",
    }
    tree, _ = evolved(tmp_path / "more", model_answer, interview, rounds=2)
    assert tree.find("algorithm/sorting/sorting sibling") is not None
    assert tree.find("algorithm/algorithm sibling/finer algorithm sibling") is not None
    assert tree.find("algorithm/shortest path/Dijkstra/Dijkstra sibling") is not None


def test_a_feature_that_is_named_again_is_counted_and_not_doubled(
    tmp_path: Path, model_answer: Callable, interview: Callable
) -> None:
    tree, _ = evolved(tmp_path, model_answer, interview, rounds=1)
    known = tree.find("algorithm/shortest path/dijkstra")
    assert known is not None and (known.name, known.count) == ("Dijkstra", 2)  # the model named DIJKSTRA once more


def test_finer_features_of_another_leaf_are_refused_and_asked_for_again(
    tmp_path: Path, model_answer: Callable, interview: Callable
) -> None:
    _, server = evolved(tmp_path, model_answer, interview, rounds=1)
    (again,) = [call.body["messages"] for call in server.calls if len(call.body["messages"]) > 2]
    assert "`no such leaf` is not one of the features of the list" in again[-1]["content"]
    answers = list(read_records(tmp_path / "round-1.parquet", FeatureAnswer))
    assert len(answers) == 3 + 3
    assert all(answer.reason is None for answer in answers)


def test_a_round_is_the_same_again_and_nothing_is_asked_twice(
    tmp_path: Path, model_answer: Callable, interview: Callable
) -> None:
    first, server = evolved(tmp_path, model_answer, interview)
    assert len(server.calls) == len({str(call.body["messages"]) for call in server.calls})
    second, silent = evolved(tmp_path, model_answer, interview)
    assert silent.calls == []
    assert first == second
    (tmp_path / "round-2.parquet").unlink()  # the answers alone bring the round back
    third, silent = evolved(tmp_path, model_answer, interview)
    assert silent.calls == []
    assert first == third


def test_every_branch_of_the_built_in_tree_is_asked_about_and_every_leaf_is_shown() -> None:
    tree = seed_tree()
    questions = branch_questions(tree, EvolutionSettings(), seed=1)
    branches = {path for path, node in tree.nodes() if node.children}
    assert {"/".join(question.path) for question in questions if question.direction == "breadth"} == branches
    shown = ["/".join((*one.path, name)) for one in questions if one.direction == "depth" for name in one.names]
    assert sorted(shown) == sorted(tree.leaves())
    assert len({question.key for question in questions}) == len(questions)


def test_wide_branches_are_shown_in_parts_and_a_round_can_be_limited() -> None:
    tree = tree_from_nested({"algorithm": [f"leaf {number}" for number in range(100)]})
    questions = branch_questions(tree, EvolutionSettings(), seed=1)
    assert [len(question.names) for question in questions] == [SHOWN, SHOWN, SHOWN, 100 - 2 * SHOWN]
    limited = EvolutionSettings(questions_per_round=40)
    chosen = branch_questions(seed_tree(), limited, seed=1)
    assert len(chosen) == 40
    assert chosen == branch_questions(copy.deepcopy(seed_tree()), limited, seed=1)
    assert chosen != branch_questions(seed_tree(), limited, seed=2)


def test_leaves_on_the_last_level_get_nothing_finer() -> None:
    tree = tree_from_nested(START)
    directions = {
        (question.direction, question.path)
        for question in branch_questions(tree, EvolutionSettings(maximum_levels=2), 1)
    }
    assert {path for direction, path in directions if direction == "depth"} == set()
    assert {path for direction, path in directions if direction == "breadth"} == {
        ("algorithm",),
        ("algorithm", "shortest path"),
        ("complexity",),
    }


QUESTION = BranchQuestion("key", "depth", ("algorithm", "graph"), ("bridges", "cycles"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"features": []}', "one or more names below `graph`"),
        ('{"features": ["a", 3]}', "one or more names below `graph`"),
        ('{"features": {"a": "b"}}', "one or more names below `graph`"),
        ('{"features": ["Graphs"]}', "`Graphs` repeats a feature above it"),
        ('{"features": ["..."]}', "names no feature"),
        (f'{{"features": ["{"x" * 101}"]}}', "101 characters"),
        ('{"siblings": ["a"]}', "`features` missing and `siblings` not expected"),
    ],
)
def test_siblings_are_a_list_of_new_names(body: str, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_siblings(f"```json\n{body}\n```", QUESTION)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"features": {}}', "must be an object"),
        ('{"features": ["a"]}', "must be an object"),
        ('{"features": {"paths": ["a"]}}', "`paths` is not one of the features"),
        ('{"features": {"bridges": []}}', "one or more names below `bridges`"),
        ('{"features": {"bridges": ["bridge"]}}', "repeats a feature above it"),
    ],
)
def test_finer_features_stand_below_leaves_that_were_shown(body: str, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_finer(f"```json\n{body}\n```", QUESTION)
    assert read_finer('```json\n{"features": {"Bridge": ["a/b", "c"]}}\n```', QUESTION) == (
        "algorithm/graph/bridges/a∕b",
        "algorithm/graph/bridges/c",
    )
