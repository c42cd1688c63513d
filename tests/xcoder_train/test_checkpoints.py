"""Which checkpoint an interrupted training goes on from."""

import json
from pathlib import Path

import pytest

from xcoder_train.training.start import newest_checkpoint


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


def test_without_a_checkpoint_training_begins_anew(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None
    _checkpoint(tmp_path, 5, None)
    assert newest_checkpoint(tmp_path) is None
