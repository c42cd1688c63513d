"""Several processes sample what one does, each its share."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.config import EvaluationSettings
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import Measurement
from evaluation.samples import sample_together
from reward.config import JudgeSettings
from xcoder_core.share import WHOLE, Share


def test_two_processes_leave_the_table_of_one_and_ask_for_nothing_twice(
    tmp_path: Path,
    rows: dict[str, Callable[..., dict[str, Any]]],
    write_jsonl: Callable[..., Path],
    replay: Callable[..., Any],
    settings: EvaluationSettings,
) -> None:
    """The second one is killed on the way, and goes on; the first one waits for it."""
    given = [rows["stdin"](question_id=f"q{n}", question_content=f"Problem number {n}: print {n}.") for n in range(5)]
    benchmark = load_livecodebench(write_jsonl(*given))
    answers = {f"number {n}:": [f"answer {n}, {sample}" for sample in range(4)] for n in range(5)}

    def sample(folder: Path, generator: Any, share: Share) -> None:
        strict = settings.model_copy(update={"maximum_invalid_share": 0.0})
        measurement = Measurement("m", folder, [benchmark], strict, JudgeSettings(), 7, "plain")
        sample_together(measurement, generator, share)

    sample(tmp_path / "alone", replay(answers), WHOLE)

    first, broken, second = replay(answers), replay(answers, stop_after=3), replay(answers)
    waiting = threading.Thread(target=sample, args=(tmp_path / "two", first, Share(0, 2)), daemon=True)
    waiting.start()
    try:
        sample(tmp_path / "two", broken, Share(1, 2))
    except KeyboardInterrupt:
        sample(tmp_path / "two", second, Share(1, 2))
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert (tmp_path / "two" / "samples.parquet").read_bytes() == (tmp_path / "alone" / "samples.parquet").read_bytes()
    asked = [*first.asked, *broken.asked, *second.asked]
    assert len(asked) == len(set(asked)) == 5 * 4 and len(broken.asked) == 3 and first.asked and second.asked
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"samples.parquet", "timings.json"}
    sample(tmp_path / "two", replay({}), Share(1, 2))  # started again: nothing is left to ask
