"""A disposable place in which a hostile program may do its worst, to show that it does anything at all.

Programs run there by plain Python, with nothing of the judge: as an unprivileged user in new namespaces of its own
(users, processes, network, mounts, IPC), where the folders that all may write are small and gone afterwards, with
limits on memory, CPU time and processes. Its network is the loopback device, which answers as the whole internet
(port 22, and 8.8.8.8). The file is both sides: `run_in_cage`, and the first process of the place.
"""

import contextlib
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--net", "--ipc"]
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
SHARED_FOLDERS = ("/var/tmp", "/dev/shm", "/tmp")
PLACE, HOME = "/tmp/place", "/tmp/home"
FOLDER_OPTIONS = "size=80m,nr_inodes=10k,mode=1777"
ADDRESS_SPACE = 192 << 20
PROCESSES = 48
CPU_SECONDS, PATIENCE_SECONDS, SETTLING_SECONDS = 10, 30.0, 3.0
OUTPUT_KEPT = 1 << 16
SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8916, 0x8914, 0x1, 0x40


@dataclass(frozen=True)
class Order:
    """A program to run. It gets `cpu_seconds` of CPU time; `awaited` are files, by pattern, to wait a while for."""

    name: str
    code: str
    cpu_seconds: int = CPU_SECONDS
    awaited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of it. `status` is `exit N`, a signal's name or `stopped`, None where its parent was killed; `memory`
    its peak in bytes; `left` the files found, without their folders. Of both outputs the beginning, as Latin-1 text,
    and the size in bytes."""

    status: str | None
    cpu_seconds: float
    memory: int
    left: list[str]
    output: str
    output_bytes: int
    errors: str
    error_bytes: int


def run_in_cage(orders: Sequence[Order], python: str, environment: dict[str, str]) -> dict[str, Outcome]:
    """Run programs one after another by `python`. Raises `OSError` where no such place can be made here."""
    command = [*UNSHARE, python, "-s", "-E", "-c", Path(__file__).read_text()]
    given = json.dumps({"orders": [asdict(order) for order in orders], "environment": environment})
    try:
        run = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            **(NOBODY if os.geteuid() == 0 else {}),
        )
    except OSError as error:
        raise OSError(f"{command[0]}: {error}") from error
    if run.returncode != 0:
        raise OSError(run.stderr.strip()[-2000:])
    return {name: Outcome(**outcome) for name, outcome in json.loads(run.stdout).items()}


def main() -> None:
    """Process 1 of the place."""
    given = json.load(sys.stdin)
    subprocess.run(["mount", "-t", "proc", "none", "/proc"], check=True)
    listener = open_network()
    outcomes = {}
    for order in given["orders"]:
        for folder in SHARED_FOLDERS:
            subprocess.run(["mount", "-t", "tmpfs", "-o", FOLDER_OPTIONS, "none", folder], check=True)
        outcomes[order["name"]] = asdict(carry_out(Order(**order), given["environment"]))
        os.chdir("/")
        for folder in SHARED_FOLDERS:
            subprocess.run(["umount", "--lazy", folder], check=True)
    listener.close()
    json.dump(outcomes, sys.stdout)


def open_network() -> socket.socket:
    """The loopback device up, with an address of the outside world, and a server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("8.8.8.8"))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))
        fcntl.ioctl(control, SIOCSIFADDR, address)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 22))
    listener.listen()
    return listener


def carry_out(order: Order, environment: dict[str, str]) -> Outcome:
    """Run one program, wait for its end and what it leaves, and end all that it started."""
    os.mkdir(HOME)
    os.mkdir(PLACE)
    Path(HOME, ".netrc").write_text("password of the user\n")
    import heapq

    shutil.copy(heapq.__file__, PLACE)  # a library that the program's user may write, as in a virtual environment
    Path(PLACE, "__pycache__").mkdir()
    Path(PLACE, "program.py").write_text(order.code)
    os.chdir(PLACE)
    said, say = os.pipe()
    terminal, terminal_of_program = os.openpty()
    output, errors = (os.open(f"/tmp/{name}", os.O_CREAT | os.O_RDWR) for name in ("output", "errors"))
    launcher = os.fork()
    if launcher == 0:
        os.close(said)
        launch(order, {**environment, "HOME": HOME, "USER": "nobody"}, say, (terminal_of_program, output, errors))
    os.close(say)
    os.close(terminal_of_program)
    report = hear(said, launcher)
    deadline = time.monotonic() + SETTLING_SECONDS
    while not all(map(find, order.awaited)) and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    outcome = Outcome(
        *(report or [None, 0.0, 0]),
        left=[path.name for pattern in ("pwned*", *order.awaited) for path in find(pattern)],
        output=os.pread(output, OUTPUT_KEPT, 0).decode("latin-1"),
        output_bytes=os.fstat(output).st_size,
        errors=os.pread(errors, OUTPUT_KEPT, 0).decode("latin-1"),
        error_bytes=os.fstat(errors).st_size,
    )
    for descriptor in (said, terminal, output, errors):
        os.close(descriptor)
    return outcome


def hear(said: int, launcher: int) -> list | None:  # type: ignore[type-arg]
    """What the launcher says of its program; nothing where it was killed. One that a program stopped is set going."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if select.select([said], [], [], 0.1)[0]:
            text = os.read(said, 1000)
            return json.loads(text) if text else None
        os.kill(launcher, signal.SIGCONT)
    return ["went on", 0.0, 0]


def find(pattern: str) -> list[Path]:
    """Files in the shared folders and in the program's own."""
    return [path for folder in (*SHARED_FOLDERS, PLACE) for path in Path(folder).glob(pattern)]


def launch(order: Order, environment: dict[str, str], say: int, streams: tuple[int, int, int]) -> None:
    """Be the program's parent, say how it ended, and hold the terminal open for what it may have left behind."""
    os.setsid()
    fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    pid = os.fork()
    if pid == 0:
        try:
            become_program(order, environment, streams)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        ended = "stopped"
    elif os.WIFSIGNALED(status):
        ended = signal.Signals(os.WTERMSIG(status)).name
    else:
        ended = f"exit {os.WEXITSTATUS(status)}"
    os.write(say, json.dumps([ended, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10]).encode())
    while True:
        signal.pause()


def become_program(order: Order, environment: dict[str, str], streams: tuple[int, int, int]) -> None:
    """Plain Python, at a terminal of its own, with a descriptor that somebody forgot to close."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
    core_pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    for limit, value in (
        (resource.RLIMIT_CPU, order.cpu_seconds),
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_CORE, 0 if core_pattern[0] in "|/" else ADDRESS_SPACE),
    ):
        resource.setrlimit(limit, (value, value))
    os.execve(sys.executable, [sys.executable, "-s", "-B", "program.py"], environment)


if __name__ == "__main__":
    main()
