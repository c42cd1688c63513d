"""The tier is chosen by what holds on this machine, stands in every result, and stops what docs/judge.md says."""

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import PROBE, TIERS
from reward.verdict import Verdict
from tests.reward.corpora import skip_unless_formed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=TIERS)
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    skip_unless_formed(request.param)
    with Judge(JudgeSettings(tier=request.param), workers=1) as judge:
        yield judge


def printed(judge: Judge, code: str) -> str:
    (execution,) = judge.execute([Submission("p", textwrap.dedent(code), ("",), (None,))])
    assert execution.runs[0].status == "OK", execution.runs[0].error
    return (execution.runs[0].output or "").strip()


@pytest.mark.parametrize("tier", TIERS)
def test_tier_that_is_formed_holds(tier: str) -> None:
    """By its own self-test, which attacks it from inside; what a tier lacks here is no failure."""
    skip_unless_formed(tier)


def test_every_result_names_its_tier(judge: Judge) -> None:
    submission = Submission("p", "print(1)", ("",), ("1",))
    (judgement,) = judge.judge([submission], stop_at_first_failure=True)
    (execution,) = judge.execute([submission])
    assert judge.tier == judge.settings.tier
    assert {judgement.tier, judgement.to_json()["tier"], execution.tier} == {judge.tier}


# Which system calls this machine refuses to everybody, and what the judge then makes of it.
REFUSED = [
    ((), "A"),
    (("unshare",), "B"),
    (("landlock_create_ruleset",), "C"),
    (("unshare", "landlock_create_ruleset"), "D"),
    (("unshare", "landlock_create_ruleset", "seccomp"), None),
]


@pytest.mark.parametrize(("refused", "tier"), REFUSED)
def test_strongest_tier_that_the_machine_forms_is_chosen(refused: tuple[str, ...], tier: str | None) -> None:
    """In a process to which the kernel refuses some calls for good, as it does in many containers."""
    for stronger in TIERS if tier is None else TIERS[: TIERS.index(tier) + 1]:
        skip_unless_formed(stronger)
    program = f"""
        import errno, pyseccomp
        calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        for name in {refused!r}:
            calls.add_rule(pyseccomp.ERRNO(errno.ENOSYS), 444 if name == "landlock_create_ruleset" else name)
        calls.load()
        from reward.tiers import form_tier
        from xcoder_core.errors import EnvironmentLacks
        try:
            print(form_tier(None, False))
        except EnvironmentLacks as error:
            print(error)
        print(form_tier(None, True))
        """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    chosen, chosen_if_allowed = run.stdout.splitlines()
    if tier is None:
        assert chosen.startswith("programs cannot be isolated on this machine (tier A: ")
        assert chosen_if_allowed == "none"
    else:
        assert (chosen, chosen_if_allowed) == (tier, tier)


def test_namespaces_are_those_that_the_tier_says(judge: Judge) -> None:
    """Seen from outside, where /proc gives a process as many numbers as it has process namespaces around it."""
    quick = Submission("q", "print(1)", ("",), ("1",))
    list(judge.judge([quick], stop_at_first_failure=True))  # the zygote is there now: as it starts, it forks as well
    submission = Submission("p", "import time\ntime.sleep(2)\nprint(1)", ("",), ("1",))
    results = judge.judge([submission], stop_at_first_failure=True)
    thread = threading.Thread(target=lambda: list(results))
    thread.start()
    own = depth_and_namespaces(os.getpid())
    inside = deepest_descendant(os.getpid())
    there = depth_and_namespaces(inside)
    thread.join()
    if judge.tier in ("A", "C"):
        assert there[0] == own[0] + 1
        assert os.geteuid() != 0 or not set(there[1]) & set(own[1])
    else:
        assert there == own or (os.geteuid() != 0 and there[0] == own[0])


def depth_and_namespaces(pid: int) -> tuple[int, list[str]]:
    """How deep in process namespaces it is, and which ones it is in, as far as one may read the latter."""
    (numbers,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:"))
    names = ("user", "pid", "net", "mnt", "ipc", "uts")
    try:
        return len(numbers.split()), [os.readlink(f"/proc/{pid}/ns/{name}") for name in names]
    except PermissionError:
        return len(numbers.split()), []


def deepest_descendant(pid: int) -> int:
    """The test's own process: supervisor, zygote (in namespaces, and who waits for it), template, child."""
    deadline = time.monotonic() + 20
    generations = 0
    while time.monotonic() < deadline and generations < 3:
        time.sleep(0.05)
        at, generations = pid, 0
        while zygotes := zygotes_below(at):
            at, generations = zygotes[-1], generations + 1
    return at


def zygotes_below(pid: int) -> list[int]:
    """The children of `pid` that are zygotes, templates or tests; one that ends meanwhile is left out."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "zygote" in " ".join(child.cmdline()):
                    found.append(child.pid)
    return found


REFUSED_ON_PURPOSE = """
    import ctypes, fcntl, os, resource, signal, socket, sys
    libc = ctypes.CDLL(None, use_errno=True)
    reader, writer = os.pipe()

    def call(*arguments):
        if libc.syscall(*arguments) == -1:
            raise OSError(ctypes.get_errno(), "")

    for name, attempt in {
        "memfd_create": lambda: os.memfd_create("x"),
        "pipe size": lambda: fcntl.fcntl(writer, 1031, 1 << 20),
        "owner of signals": lambda: fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid()),
        "which signal": lambda: fcntl.fcntl(reader, 10, 9),
        "signals on input": lambda: fcntl.fcntl(reader, fcntl.F_SETFL, 0x2000),
        "signals on input, by ioctl": lambda: fcntl.ioctl(reader, 0x5452, b"\\1\\0\\0\\0"),
        "owner, by ioctl": lambda: fcntl.ioctl(reader, 0x8901, b"\\1\\0\\0\\0"),
        "flock": lambda: fcntl.flock(0, fcntl.LOCK_SH),
        "lockf": lambda: fcntl.lockf(1, fcntl.LOCK_EX),
        "terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
        "kill": lambda: os.kill(os.getpid(), 0),
        "tgkill": lambda: call(234, os.getpid(), os.getpid(), 0),
        "rt_sigqueueinfo": lambda: call(129, os.getpid(), 0, 0),
        "pidfd_open": lambda: call(434, os.getpid(), 0),
        "prctl": lambda: call(157, 4, 1, 0, 0, 0),
        "seccomp": lambda: call(317, 0, 0, 0),
        "io_uring": lambda: call(425, 4, ctypes.create_string_buffer(256)),
        "vfork": lambda: call(58),
        "execve": lambda: os.execv("/bin/true", ["true"]),
        "more processor time": lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 1)),
        "limits of the parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE),
        "a pair of sockets for the network": lambda: socket.socketpair(socket.AF_INET),
        "a socket": lambda: socket.socket(socket.AF_UNIX),
    }.items():
        try:
            attempt()
            print(name)
        except (OSError, ValueError):
            continue
    resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))
    socket.socketpair()
    """
"""The last lines are allowed, since honest programs do it."""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the system calls are those of x86_64")
def test_calls_that_are_refused_on_purpose_are_refused(judge: Judge) -> None:
    assert printed(judge, REFUSED_ON_PURPOSE) == ""


def test_the_self_test_writes_to_nobodys_file(tmp_path: Path) -> None:
    probe: dict[str, Any] = {}
    exec(PROBE.partition("escaped = []")[0], probe)
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "laid").symlink_to(target)
    with pytest.raises(FileExistsError):
        probe["make"](str(tmp_path / "laid"))
    probe["make"](str(tmp_path / "new"))
    assert target.read_text() == "precious" and not (tmp_path / "new").exists()


WHAT_IS_THERE = """
    import os
    def can(attempt):
        try:
            attempt()
        except (OSError, ImportError):
            return False
        return True
    print(*(name for name, attempt in {
        "read": lambda: open("/etc/passwd").close(),
        "write": lambda: open("/tmp/pwned_tier", "w").close(),
        "library": lambda: open(os.__file__).close(),
        "stat": lambda: os.stat("/etc/passwd"),
    }.items() if can(attempt)), sep=", ")
    """


def test_files_are_as_the_table_in_the_docs_says(judge: Judge) -> None:
    said = set(printed(judge, WHAT_IS_THERE).split(", "))
    assert said & {"read", "write"} == set()
    assert ("stat" in said) == (judge.tier in ("A", "B"))
    assert ("library" in said) == (judge.tier != "D")


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="packages outside a virtual environment are in the library")
def test_no_installed_package_is_there_but_those_for_programs(judge: Judge) -> None:
    code = f"""
        import numpy
        try:
            import pytest
        except ModuleNotFoundError:
            print("missing")
        try:
            open({pytest.__file__!r})
        except OSError:
            print("closed")
        """
    assert printed(judge, code).split() == ["missing", "closed"]


def test_threads_are_bounded_where_the_docs_say_so(judge: Judge) -> None:
    code = """
        import threading
        threading.stack_size(1 << 16)
        done = threading.Event()
        started = 0
        try:
            for _ in range(600):
                threading.Thread(target=done.wait, daemon=True).start()
                started += 1
        except RuntimeError:
            pass
        done.set()
        print(started)
        """
    started = int(printed(judge, code))
    assert (started < 512) == (judge.tier in ("A", "C") and os.geteuid() != 0)


def test_compiled_languages_are_refused_in_tier_d_only(judge: Judge) -> None:
    submission = Submission("c", "int main() { return 0; }", ("",), ("",), language="cpp")
    (judgement,) = judge.judge([submission], stop_at_first_failure=True)
    if judge.tier == "D":
        assert (judgement.verdict, "tier D cannot hold a compiler" in judgement.message) == (Verdict.IE, True)
    else:
        assert judgement.verdict is Verdict.AC
