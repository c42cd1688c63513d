"""What a compiler runs in: a process that becomes the compiler, isolated and limited, and one that waits for it.

Unlike a program, a compiler starts other processes (assembler, linker) and writes files, in one folder. The one that
waits is there for the case that the supervisor is killed: it then ends the others and removes the folder.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
from typing import Any, NoReturn

from reward.sandbox import isolation, kernel

FAILED = 97
"""Exit status where the box could not be formed: nothing is known about the program."""
KILLED = -signal.SIGKILL & 0x7F
"""Exit status where the compiler was killed, which none of its limits does: nothing is known either."""
CPU_SECONDS = 30
PROCESS_BYTES = 2 << 30
FILE_BYTES = 64 << 20
PROCESSES = 64
DESCRIPTORS = 256


def main() -> NoReturn:
    """Read what to do from the environment, start the compiler, and end with its exit status."""
    start = json.loads(os.environ.pop("BOX"))
    signals = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    isolation.die_with_parent(signal.SIGTERM, None)  # which leaves time to remove the folder
    compiler = os.fork()
    if compiler == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        compile_in_box(start)
    if os.getppid() != start["supervisor"] or signal.sigwait(signals) == signal.SIGTERM:
        leave_nothing(start["writable"])
    _, status = os.waitpid(compiler, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0x7F)


def compile_in_box(start: dict[str, Any]) -> NoReturn:
    """Become the compiler."""
    try:
        restrict(start["tier"], start["readable"], start["writable"], bytes.fromhex(start["filter"]))
        os.execve(start["command"][0], start["command"], dict(os.environ))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.stderr.flush()
    os._exit(FAILED)


def leave_nothing(folder: str) -> NoReturn:
    """Kill this process group, from a process outside it that then removes the folder."""
    group = os.getpid()
    if os.fork() == 0:
        os.setsid()
        os.killpg(group, signal.SIGKILL)
        for _ in range(100):  # a process may be writing a last file while it dies
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(0.05)
        os._exit(0)
    while True:
        signal.pause()


def restrict(tier: str, readable: list[str], writable: str, filter_code: bytes) -> None:
    """Give up everything that compiling does not need. Raises `OSError`."""
    if tier in ("A", "C"):
        isolation.enter_namespaces(PROCESSES)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))  # the first by SIGXCPU, not by SIGKILL
    for limit, value in (
        (resource.RLIMIT_AS, PROCESS_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    ruleset = None
    if tier == "C":
        isolation.enter_own_root(readable, [], [writable])
    elif tier != "none":
        ruleset = isolation.create_ruleset(readable, [], runnable=readable, writable=[writable])
    os.chdir(writable)
    isolation.give_up_privileges()
    if ruleset is not None:
        isolation.restrict_self(ruleset)
        os.close(ruleset)
    if tier != "none":
        kernel.install(kernel.BpfProgram(filter_code))
