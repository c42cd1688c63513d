"""The prompt for base models: one text, from LiveCodeBench's own examples, asked for by settings that fit together."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from evaluation.livecodebench import load_livecodebench
from evaluation.prompting import FEW_SHOT, examples_identity, load_examples
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.errors import InputError
from xcoder_core.models.prompt import CONTINUATION
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    folder.mkdir()
    function = {
        "question": "Halve x.",
        "sample_code": "def halve(x):\n    ",
        "answer": "def halve(x):\n    return x / 2",
    }
    (folder / "func.json").write_text(json.dumps([function, {"question": "never shown"}]))
    (folder / "stdin.json").write_text(json.dumps([{"question": "Print x.", "answer": "print(input())\n"}]))
    return folder


class BaseModel:
    """A model that continues with a bare program."""

    asked: list[Request]

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        self.asked = list(requests)
        for request in self.asked:
            is_function = "### Starter Code" in request.messages[0]["content"]
            text = "class Solution:\n    def double(self, x):\n        return 2 * x\n" if is_function else "print(3)\n"
            yield Completion(request.id, text, (), "stop", 10, 10)


def test_base_models_continue_a_text_and_all_of_it_is_the_program(
    folder: Path, rows: Any, write_jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"](private_test_cases="[]"), rows["function"]()))
    settings = EvaluationSettings(
        samples=1, k=(1,), bootstrap=100, prompt=FEW_SHOT, extraction=FEW_SHOT, few_shot_folder=folder
    )
    model = BaseModel()
    result = evaluate_model(settings, JudgeSettings(workers=1), [benchmark], "m", model, tmp_path / "m", 7, FEW_SHOT)
    assert result.scores["benchmarks"]["bench"]["pass_at_1"]["mean"] == 1.0
    prompts = {request.messages[0]["content"] for request in model.asked}
    assert prompts == {
        "### Question\nPrint x.\n\n### Answer\n\nprint(input())\n\n\n"
        "### Question\nPrint the sum of the integers on the line.\n\n### Answer\n\n",
        "### Question\nHalve x.\n\n### Starter Code\ndef halve(x):\n    \n\n### Answer\n\n"
        "def halve(x):\n    return x / 2\n\n### Question\nReturn twice x.\n\n### Starter Code\n"
        "class Solution:\n    def double(self, x: int) -> int:\n        \n\n### Answer\n\n",
    }
    assert all(request.messages[0]["role"] == CONTINUATION and request.stop == ("###",) for request in model.asked)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"few_shot_folder": None}, "needs few_shot_folder"),
        ({"extraction": "last_block"}, "set extraction to livecodebench-base"),
        ({"generation": {"backend": "openai", "openai": {"base_url": "http://host/v1"}}}, "chat completions"),
    ],
)
def test_settings_that_do_not_fit_the_prompt_are_refused(changed: dict[str, Any], said: str, folder: Path) -> None:
    fitting = {"prompt": FEW_SHOT, "extraction": FEW_SHOT, "few_shot_folder": folder}
    EvaluationSettings(**fitting)
    with pytest.raises(ValueError, match=said):
        EvaluationSettings(**{**fitting, **changed})


def test_examples_that_are_not_there_are_named(folder: Path) -> None:
    before = examples_identity(folder)
    (folder / "stdin.json").write_text(json.dumps([{"question": "Print y.", "answer": ""}]))
    assert examples_identity(folder) != before
    (folder / "func.json").write_text('[{"question": "Q", "answer": "A"}]')
    with pytest.raises(InputError, match="func.json holds no example .* sample_code"):
        load_examples(folder)
