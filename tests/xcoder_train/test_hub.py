"""Pushing a model: what a hub, here one on this machine, is handed."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_train.commands.hub import push_model
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import InputSettings
from xcoder_train.runs.keys import stage_folder, stage_key

COMMIT = "a" * 40


class Hub:
    """The calls of the hub that an upload of small files makes."""

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.refuses = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(404, {"error": "nothing here"})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if hub.refuses:
                    self._answer(401, {"error": "bad token"})
                elif self.path == "/api/repos/create":
                    hub.created = json.loads(body)
                    self._answer(200, {"url": f"{hub.url}/me/model", "name": "me/model"})
                elif self.path == "/api/validate-yaml":
                    self._answer(200, {"warnings": [], "errors": []})
                elif "/preupload/" in self.path:
                    files = [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in json.loads(body)["files"]
                    ]
                    self._answer(200, {"files": files})
                elif "/commit/" in self.path:
                    for line in body.splitlines():
                        entry = json.loads(line)
                        if entry["key"] == "file":
                            hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                    url = f"{hub.url}/me/model/commit/{COMMIT}"
                    self._answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})
                else:
                    self._answer(404, {"error": self.path})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A run whose SFT is whole and whose models are measured."""
    values = {
        "name": "tiny",
        "runs_dir": str(tmp_path / "runs"),
        "model": {"init": {}},
        "synth": {"splits": {"a": {"use": "sft", "tasks": 4}}},
        "sft": {"training": {"learning_rate": 0.125}},
    }
    made = Recipe.model_validate_json(json.dumps(values))
    folder = stage_folder(made, "sft")
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "README.md").write_text("from before the evaluation")
    figures = {"stage": "sft", "key": stage_key(made, "sft"), "steps": 7, "final_loss": 0.5}
    (folder / "stage.json").write_text(json.dumps(figures))
    measured = {"sft": {"mean": 0.625, "ci95": [0.5, 0.75], "problems": 40, "samples": 8}}
    (made.run_folder / "summary.json").write_text(json.dumps({"pass_at_1": measured}))
    return made


def test_the_model_goes_up_with_a_card_that_tells_what_was_measured_since(hub: Hub, recipe: Recipe) -> None:
    address = push_model(recipe, "sft", "me/model", public=False)
    assert address.startswith(hub.url)
    assert (hub.created["name"], hub.created["organization"]) == ("model", "me")
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    assert hub.files["config.json"] == b"{}"
    card = hub.files["README.md"].decode()
    assert "| sft | 62.5 % | 50.0 to 75.0 | 40 x 8 |" in card
    assert "| steps | 7 |" in card and "learning_rate: 0.125" in card
    kept = stage_folder(recipe, "sft") / "model" / "README.md"
    assert kept.read_text() == "from before the evaluation"


def test_a_refusal_names_the_token_and_an_unfinished_stage_the_command(hub: Hub, recipe: Recipe) -> None:
    hub.refuses = True
    with pytest.raises(EnvironmentLacks, match="cannot push to me/model: .*HF_TOKEN"):
        push_model(recipe, "sft", "me/model", public=False)
    with pytest.raises(InputError, match="names no repository"):
        push_model(recipe, "sft", "me/mo/del", public=False)
    (stage_folder(recipe, "sft") / "stage.json").unlink()
    with pytest.raises(InputError, match="xcoder sft RECIPE"):
        push_model(recipe, "sft", "me/model", public=False)


def test_a_stage_that_the_recipe_does_not_have_is_named(hub: Hub, recipe: Recipe) -> None:
    given = stage_folder(recipe, "sft")
    other = recipe.model_copy(update={"sft": None, "inputs": InputSettings(sft=given)})
    for stage in ("sft", "grpo"):
        with pytest.raises(InputError, match=f"the recipe has no `{stage}:` section"):
            push_model(other, stage, "me/model", public=False)  # type: ignore[arg-type]
    assert hub.created == {}
