"""What is pushed to a hub, and what never is: held-out tasks and the token."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from hub_server import HubServer
from pydantic import ValidationError

from synth.push import PushSettings, push_datasets
from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records
from xcoder_core.stage import Membership, SynthLayout

TOKEN = "hf_a_secret_of_this_test"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    with HubServer(TOKEN) as serving:
        yield serving


def test_both_datasets_arrive_with_their_cards_and_load_and_no_held_out_task_is_sent(
    finished_run: Path, hub: HubServer, tmp_path: Path
) -> None:
    layout = SynthLayout(finished_run)
    settings = PushSettings(repository="me/tasks", token_env="MY_TOKEN", endpoint=hub.url)
    commits = push_datasets(settings, layout)
    assert commits.keys() == {"sft", "rl"} and all(
        url.startswith(f"{hub.url}/datasets/me/tasks-") for url in commits.values()
    )
    assert hub.private == {"me/tasks-sft": True, "me/tasks-rl": True}
    sft, rl = hub.repositories["me/tasks-sft"], hub.repositories["me/tasks-rl"]
    assert sft.keys() == {"README.md", "train.parquet"}
    assert rl.keys() == {"README.md", "train.parquet", "problems.parquet", "tests.parquet"}
    for use, files in (("sft", sft), ("rl", rl)):
        folder = tmp_path / use
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        assert TOKEN.encode() not in b"".join(files.values())
        rows = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"]
        assert len(rows) > 0
    ours = {row["problem_id"] for row in rows}
    held_out = {row.problem_id for row in read_records(layout.memberships, Membership) if row.use == "evaluation"}
    assert held_out and {test.problem_id for test in read_records(tmp_path / "rl" / "tests.parquet", TestCase)} == ours
    assert {problem.problem_id for problem in read_records(tmp_path / "rl" / "problems.parquet", Problem)} == ours


def test_pushed_again_it_uses_the_repositories_that_are_there(finished_run: Path, hub: HubServer) -> None:
    settings = PushSettings(repository="me/tasks", token_env="MY_TOKEN", endpoint=hub.url)
    push_datasets(settings, SynthLayout(finished_run))
    before = {name: dict(files) for name, files in hub.repositories.items()}
    push_datasets(settings, SynthLayout(finished_run))
    assert hub.repositories == before


def test_a_refusal_names_the_setting_and_not_the_token(
    finished_run: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", TOKEN + "-wrong")
    settings = PushSettings(repository="me/tasks", token_env="MY_TOKEN", endpoint=hub.url)
    with pytest.raises(EnvironmentLacks, match="cannot push to me/tasks-sft: .*MY_TOKEN may do") as refused:
        push_datasets(settings, SynthLayout(finished_run))
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(EnvironmentLacks, match="MY_TOKEN is not set"):
        push_datasets(settings, SynthLayout(finished_run))


def test_without_a_dataset_there_is_nothing_to_push(hub: HubServer, tmp_path: Path) -> None:
    settings = PushSettings(repository="me/tasks", token_env="MY_TOKEN", endpoint=hub.url)
    with pytest.raises(InputError, match="holds no dataset to push"):
        push_datasets(settings, SynthLayout(tmp_path))


@pytest.mark.parametrize("fields", [{"repository": "tasks"}, {"repository": "me/tasks", "token_env": "hf_abc"}])
def test_a_wrong_name_or_a_token_itself_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        PushSettings(**fields)
