"""A judge whose machinery fails says nothing about the model: such samples are excluded, counted, and judged again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai_server import Call, Fault, OpenAIServer

from evaluation.config import EvaluationSettings
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import ResultLayout
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.settings import ServerSettings

RIGHT = "```python\nprint(sum(map(int, input().split())))\n```"
WRONG = "```python\nprint(0)\n```"
SLOW = "```python\nimport time\ntime.sleep(1.0)\nprint(sum(map(int, input().split())))\n```"


@contextmanager
def killing_the_sandbox_after(verdicts: int, folder: Path) -> Iterator[None]:
    """Once so many verdicts are kept, kill every process below this one, again and again."""
    journal = ResultLayout(folder).verdicts.with_suffix(".journal")
    over = threading.Event()

    def kill() -> None:
        while not over.is_set():
            if journal.exists() and journal.read_bytes().count(b"\n") >= verdicts:
                for process in psutil.Process().children(recursive=True):
                    try:
                        process.kill()
                    except psutil.NoSuchProcess:
                        continue
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_invalid_samples_are_excluded_counted_and_judged_again(
    rows: Any, write_jsonl: Callable[..., Path], replay: Any, settings: EvaluationSettings, tmp_path: Path
) -> None:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"]()))
    answers = {"sum": [RIGHT, WRONG, WRONG, SLOW]}

    def evaluate(folder: Path, share: float) -> dict[str, Any]:
        asked = settings.model_copy(update={"maximum_invalid_share": share})
        result = evaluate_model(
            asked, JudgeSettings(workers=1), [benchmark], "base", replay(answers), folder, 7, "livecodebench"
        )
        return result.scores["benchmarks"]["bench"]

    # The slow program may be the only one left when the killing begins: the others have their verdicts by then.
    refused = tmp_path / "refused"
    with killing_the_sandbox_after(3, refused), pytest.raises(InfrastructureError, match="1 of 4 samples"):
        evaluate(refused, share=0.1)
    assert not ResultLayout(refused).scores.exists()
    mended = evaluate(refused, share=0.1)
    assert (mended["pass_at_1"]["mean"], mended["invalid"]) == (0.5, 0)

    tolerated = tmp_path / "tolerated"
    with killing_the_sandbox_after(3, tolerated):
        scores = evaluate(tolerated, share=0.25)
    assert scores["invalid"] == 1 and scores["failures"]["invalid"] == 1
    assert scores["pass_at_1"]["mean"] == pytest.approx(1 / 3)  # of the three that were judged, not of four
    assert scores["pass_at_1"]["samples"] == 3
    assert scores["pass_at_4"]["mean"] is None and scores["pass_at_4"]["left_out"] == 1


def test_unanswered_samples_are_excluded_counted_and_asked_again(
    rows: Any, write_jsonl: Callable[..., Path], settings: EvaluationSettings, tmp_path: Path
) -> None:
    benchmark = load_livecodebench(
        write_jsonl(rows["stdin"](), rows["stdin"](question_id="b", question_content="Print x."))
    )
    is_refusing = True

    def refuse(call: Call) -> Fault | None:
        return Fault(400, "the prompt is too long") if is_refusing and "Print x." in call.asked else None

    def evaluate(share: float, folder: str) -> dict[str, Any]:
        asked = settings.model_copy(update={"maximum_invalid_share": share, "k": (1,)})
        with OpenAIGenerator(ServerSettings(base_url=server.base_url), "model") as generator:
            result = evaluate_model(
                asked, JudgeSettings(workers=1), [benchmark], "base", generator, tmp_path / folder, 7, "livecodebench"
            )
        return result.scores["benchmarks"]["bench"]

    with OpenAIServer(lambda messages, parameters: RIGHT, fault_of=refuse) as server:
        with pytest.raises(InfrastructureError, match="of 8 requests could not be answered.*the prompt is too long"):
            evaluate(0.1, "refused")
        tolerated = evaluate(0.5, "tolerated")
        is_refusing = False
        mended = evaluate(0.1, "refused")
    assert (tolerated["invalid"], tolerated["failures"]["invalid"], tolerated["truncated"]) == (4, 4, 0)
    assert (tolerated["pass_at_1"]["mean"], tolerated["pass_at_1"]["problems"]) == (1.0, 1)
    assert (mended["invalid"], mended["pass_at_1"]["samples"]) == (0, 8)
