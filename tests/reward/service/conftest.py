"""A real service, started by its command as a user would, with a real sandbox and a real HTTP client."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "xcoder_train.cli", "judge", "serve"]
START = re.compile(r"judging at (http://\S+) ")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "XCODER_JUDGE_TOKEN"},
    "PYTHONPATH": str(ROOT),
}


@dataclass
class Service:
    """A running service. `said` is what it wrote to standard error, once it has ended."""

    process: subprocess.Popen[str]
    address: str
    client: httpx.Client
    said: str = field(default="")

    def below(self) -> list[psutil.Process]:
        """The zygotes and whatever runs below them."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end and wait for that; the exit status."""
        self.process.send_signal(how)
        self.said += self.process.communicate(timeout=30)[1]
        return self.process.returncode

    def connect(self) -> socket.socket:
        """A connection on which nothing was said yet."""
        return socket.create_connection((self.client.base_url.host, self.client.base_url.port or 80), timeout=20)

    def peak_memory(self) -> int:
        """The most memory that it ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def metric(self, line: str) -> float:
        """The value of one line of `/metrics`, 0 where it is not there."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def start_service(*options: str, token: str | None = None, descriptors: int | None = None) -> Service:
    """Start `xcoder judge serve` on a free port and wait until it says that it listens.

    `descriptors` is how many files it may have open; as many as this process when left out.
    """
    environment = ENVIRONMENT if token is None else ENVIRONMENT | {"XCODER_JUDGE_TOKEN": token}
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=None
        if descriptors is None
        else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors,) * 2),
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = START.match(line)
    assert found, line + process.communicate()[1]
    address = found[1].replace("0.0.0.0", "127.0.0.1")
    return Service(process, address, httpx.Client(base_url=address, timeout=60), line)


@pytest.fixture
def start() -> Iterator[Callable[..., Service]]:
    """Starts services that end with the test."""
    with ExitStack() as stack:

        def start_until_the_end(*options: str, **given: Any) -> Service:
            service = start_service(*options, **given)
            stack.callback(end_if_running, service)
            return service

        yield start_until_the_end


def end_if_running(service: Service) -> None:
    service.client.close()
    if service.process.poll() is None:
        service.end()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for a module's tests that only ask it something; tests elsewhere kill every child of their worker."""
    running = start_service("--workers", "2")
    yield running
    end_if_running(running)


@pytest.fixture
def command() -> list[str]:
    """The command that starts a service, without options."""
    return COMMAND


@pytest.fixture
def environment() -> dict[str, str]:
    """Its environment: this one's, without a token."""
    return ENVIRONMENT
