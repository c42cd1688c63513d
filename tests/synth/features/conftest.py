"""A model that knows a little about features, behind a real server, and how it is asked."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer

from synth.language_model.dialogue import Interview
from xcoder_core.models.answered import Answers
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.settings import SamplingSettings, ServerSettings

Open = Callable[..., AbstractContextManager[Interview]]

SEED = 11


def fenced(value: Any) -> str:
    return f"<think>a while</think>Here it is:\n```json\n{json.dumps(value)}\n```"


def answer(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
    """What the model says: a task named `fails` never parses, one named `stumbles` parses when asked again."""
    asked = messages[1]["content"]
    again = len(messages) > 2
    if task := re.search(r"<task>\ntask (\d+)( \w+)?\n</task>", asked):
        number = int(task[1])
        if task[2] == " fails" or (task[2] == " stumbles" and not again):
            return "I see a graph."
        found = {"graph": {"shortest path": [("Dijkstra", "dijkstra's algorithm")[number % 2], f"trick {number}"]}}
        return fenced({"Algorithms": found, "complexity": {"time": ["O(n log n)"]}})
    path = next(line for line in asked.splitlines() if " > " in line or line in ("algorithm", "complexity")).split(
        " > "
    )
    names = re.findall(r"^- (.+)$", asked, re.MULTILINE)
    if "beside them" in asked:
        return fenced({"features": [f"{path[-1]} sibling", names[0].upper()]})
    leaf = names[0] if again or path[-1] != "shortest path" else "no such leaf"
    return fenced({"features": {leaf: [f"finer {names[0]}", f"Finer  {names[0]}."]}})


@pytest.fixture(scope="session")
def model_answer() -> Callable[[list[dict[str, str]], dict[str, Any]], str]:
    """The answers of the model."""
    return answer


@pytest.fixture
def interview() -> Open:
    """Opens an interview: (server, path of the kept answers). The answers are sealed when it ends well."""

    @contextmanager
    def opened(server: OpenAIServer, path: Path, max_concurrency: int = 8) -> Iterator[Interview]:
        settings = ServerSettings(
            base_url=server.base_url, longest_wait=0.02, attempts=2, max_concurrency=max_concurrency
        )
        with OpenAIGenerator(settings, "model") as generator, Answers(path) as answers:
            yield Interview(generator, answers, SamplingSettings(max_new_tokens=100), "features", SEED)
            answers.seal()

    return opened


@pytest.fixture
def snippets(tmp_path: Path) -> Path:
    """Rows 1 to 12: one stumbles, one fails, one is no JSON, one lacks its text, one is too long."""
    texts = {3: "task 3 stumbles", 4: "task 4 fails"}
    rows = [
        {"question": texts.get(place, f"task {place}"), "solutions": [f"print({place})", ""]} for place in range(1, 13)
    ]
    rows[6]["question"] = " "
    rows[7]["solutions"] = ["x" * 2000]
    lines = [json.dumps(row) for row in rows]
    lines[5] = '{"question": '
    path = tmp_path / "snippets.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path
