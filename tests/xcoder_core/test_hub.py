"""A hub that is away, slow or refuses: its own words and exit code 3, by whichever library it was asked."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.hub import asking_hub, hub_words, loading
from xcoder_train.runs.failures import failure_of

PROJECT = Path(__file__).parents[2]

ASKED = {
    "model": "from transformers import AutoConfig; AutoConfig.from_pretrained('me/private')",
    "tokenizer": "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('me/private')",
    "snapshot": "from huggingface_hub import snapshot_download; snapshot_download('me/private', repo_type='dataset')",
    "upload": "from huggingface_hub import HfApi; HfApi(token='hf_x').create_repo('me/private')",
}
ASK = """
import os, sys
from xcoder_train.runs.failures import failure_of
try:
    {ask}
except BaseException as error:
    failure = failure_of(error, None)
    print(failure.message)
    sys.exit(failure.exit_code)
"""


@pytest.fixture
def refusing() -> Iterator[str]:
    """A hub that refuses everything as the real one refuses a gated repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"error": "Access to model me/private is restricted."}).encode()
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to model me/private is restricted.")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def asked(ask: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    command = [sys.executable, "-c", ASK.format(ask=ask)]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("kind", ASKED)
def test_a_hub_that_refuses_is_told_in_its_own_words(kind: str, refusing: str, tmp_path: Path) -> None:
    done = asked(ASKED[kind], refusing, tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "a fault of ours" not in done.stdout and "restricted" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "kind", ["upload", pytest.param("model", marks=pytest.mark.slow)]
)  # others ask five times over
def test_a_hub_that_is_away_is_a_lack_of_the_environment(kind: str, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    done = asked(ASKED[kind], endpoint, tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Connection refused" in done.stdout and "a fault of ours" not in done.stdout


def test_a_hub_that_never_answers_is_told_as_that(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        ask = "from huggingface_hub import HfApi; HfApi(token='hf_x').repo_info('me/private', timeout=1)"
        done = asked(ask, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert done.returncode == 3 and "Timeout" in done.stdout, done.stdout + done.stderr


def test_what_is_not_the_hubs_stays_what_it_is(tmp_path: Path) -> None:
    assert hub_words(ValueError("loss is not finite")) is None and hub_words(OSError(28, "No space left")) is None
    assert failure_of(ValueError("x"), None).is_ours
    with pytest.raises(KeyError), asking_hub("cannot push", "Look."):
        raise KeyError("x")
    said = f"cannot load the model from {tmp_path}: no such thing. Expected a folder"
    with pytest.raises(InputError, match=said), loading("model", tmp_path):
        raise OSError("no such thing.\nmore")
    with pytest.raises(InputError, match="set model.trust_remote_code: true"), loading("model", tmp_path):
        raise ValueError("please pass trust_remote_code=True")


def test_a_mistyped_file_of_a_repository_that_is_there_is_not_the_hubs_refusal() -> None:
    import httpx2
    from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError

    response = httpx2.Response(404, request=httpx2.Request("GET", "http://hub/me/model"))
    assert hub_words(RemoteEntryNotFoundError("404", response=response)) is None
    said = "cannot load the model from me/m: GatedRepoError: ask its owner"
    with pytest.raises(EnvironmentLacks, match=said), loading("model", "me/m"):
        try:
            raise GatedRepoError("ask its owner", response=response)
        except GatedRepoError as error:
            raise OSError("You are trying to access a gated repo.") from error
