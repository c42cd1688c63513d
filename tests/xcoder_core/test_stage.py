"""What a stage is handed."""

from pathlib import Path

from xcoder_core.stage import StageContext


def test_a_stage_goes_on_with_the_model_of_whichever_stage_is_among_its_inputs(tmp_path: Path) -> None:
    for inputs, start in (
        ({"synth": tmp_path / "synth"}, None),
        ({"synth": tmp_path / "synth", "sft": tmp_path / "sft"}, tmp_path / "sft" / "model"),
        ({"synth": tmp_path / "synth", "later": tmp_path / "later"}, tmp_path / "later" / "model"),
    ):
        assert StageContext("run", "grpo", "key", tmp_path, 0, inputs).start == start
