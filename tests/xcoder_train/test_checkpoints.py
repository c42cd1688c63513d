"""Which checkpoint an interrupted training goes on from."""

import json
from pathlib import Path

import pytest

from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_train.training.checkpoints import newest_checkpoint


def _checkpoint(folder: Path, step: int, state: str | None) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    if state is not None:
        (checkpoint / "trainer_state.json").write_text(state)
    return checkpoint


def _whole(step: int) -> str:
    return json.dumps({"global_step": step})


def test_the_newest_is_by_step_not_by_name(tmp_path: Path) -> None:
    made = {step: _checkpoint(tmp_path, step, _whole(step)) for step in (900, 1000, 50)}
    assert newest_checkpoint(tmp_path) == made[1000]


@pytest.mark.parametrize("state", [None, "", '{"global_st', "{}"])
def test_a_half_written_checkpoint_is_swept_and_the_one_before_it_taken(tmp_path: Path, state: str | None) -> None:
    before = _checkpoint(tmp_path, 10, _whole(10))
    torn = _checkpoint(tmp_path, 20, state)
    assert newest_checkpoint(tmp_path) == before
    assert not torn.exists()
    assert before.exists()


def test_a_checkpoint_is_whole_only_once_every_process_has_written_its_part(tmp_path: Path) -> None:
    """Without its part a process would go on with other random numbers."""
    with pytest.raises(AssertionError, match="SIGKILL"):
        run_on_two_processes("tests.xcoder_train.training.saving_on_two", str(tmp_path))
    checkpoint = tmp_path / "checkpoints" / "checkpoint-1"
    assert (checkpoint / "model.safetensors").exists()
    assert newest_checkpoint(tmp_path / "checkpoints") is None


def test_without_a_checkpoint_training_begins_anew(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None
    _checkpoint(tmp_path, 5, None)
    assert newest_checkpoint(tmp_path) is None
