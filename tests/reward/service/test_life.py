"""The service's end: no process is left, whatever was going on; and what it says where it cannot begin."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

LONG = {"code": "import time\ntime.sleep(60)", "language": "python", "run_timeout": 100}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left(start: Callable[..., Any], how: signal.Signals) -> None:
    service = start("--workers", "2", "--shutdown-seconds", "1")
    statuses: list[int] = []

    def ask_for_too_much() -> None:
        try:
            statuses.append(httpx.post(service.address + "/run_code", json=LONG, timeout=60).status_code)
        except httpx.HTTPError:
            statuses.append(0)

    clients = [threading.Thread(target=ask_for_too_much) for _ in range(3)]
    for client in clients:
        client.start()
    while len(below := service.below()) < 4:  # two zygotes, and below them what runs
        time.sleep(0.05)
    while service.client.get("/status").json()["queue"] < len(clients):  # whoever comes later is refused, not answered
        time.sleep(0.05)
    status = service.end(how)
    assert status == (-9 if how is signal.SIGKILL else 0)
    gone, alive = psutil.wait_procs(below, timeout=10)
    assert (len(gone), alive) == (len(below), [])
    assert "Traceback" not in service.said
    for client in clients:
        client.join()
    assert statuses == [0 if how is signal.SIGKILL else 503] * 3


def test_a_request_in_progress_is_answered_before_the_end(start: Callable[..., Any]) -> None:
    service = start("--workers", "1")
    answers: list[httpx.Response] = []
    program = {"code": "import time\ntime.sleep(1.5)\nprint(1)", "language": "python"}
    client = threading.Thread(target=lambda: answers.append(service.client.post("/run_code", json=program)))
    client.start()
    time.sleep(0.7)
    assert service.end() == 0
    client.join()
    assert answers[0].json()["status"] == "Success"


def test_a_port_that_is_taken_is_named(service: Any, command: list[str], environment: dict[str, str]) -> None:
    port = service.address.rpartition(":")[2]
    ended = subprocess.run([*command, "--port", port], env=environment, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert f"port {port}" in ended.stderr


def test_a_missing_package_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "sys.argv[1:] = ['judge', 'serve']\n"
        "from xcoder_train.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert "pip install -e '" in ended.stderr and "[serve]'" in ended.stderr


def test_a_file_is_judged_by_the_same_command(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "programs.jsonl"
    file.write_text(json.dumps({"id": "a", "code": "print(1)", "tests": [{"input": "", "expected": "1"}]}))
    for arguments in (["judge", str(file)], ["judge", "--workers", "1", str(file)], ["judge", "file", str(file)]):
        command = [sys.executable, "-m", "xcoder_train.cli", *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert json.loads(ended.stdout)["verdict"] == "AC"
