"""Compiling a program inside the sandbox, once: what comes out is a sealed executable in memory, or the reason why not.

Each language that is compiled is one file of `reward/languages/`. Python needs no such file: the sandbox's own
processes are Python.

The compiler reads hostile text, so it runs isolated and limited as a program does, and reads only what its language
names. After an interruption nothing is kept; a thread that waits for the same executable compiles it itself.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import tomllib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from reward.sandbox.compile_box import FAILED, KILLED
from reward.sandbox.filters import compiler_filter
from reward.worker import DeadlinePassed, Interruption, interpreter_command, sealed_memory
from xcoder_core.errors import EnvironmentLacks, InfrastructureError

FOLDER = Path(__file__).parent / "languages"
PYTHON = "python"
WALL_SECONDS = 60.0
MESSAGE_BYTES = 2_000
CACHED = 64
"""Executables kept, of about 2 MB each: rollouts of a group and a resumed evaluation repeat programs."""
MFD_EXEC = 0x10
"""Since Linux 6.3, where a memfd may otherwise be refused execution; older kernels refuse the flag."""


@dataclass(frozen=True)
class CompiledLanguage:
    """How a program becomes a static executable: `compiler` reads it from standard input and writes `{output}`.

    `readable` are the paths that compiling may read and run. `killed` is a pattern of what the compiler says, and no
    program can make it say, where a part of it was killed from outside: nothing is then known about the program.
    """

    name: str
    compiler: str
    arguments: tuple[str, ...]
    readable: tuple[str, ...]
    killed: str

    def find_compiler(self) -> str:
        """The compiler's path. Raises `EnvironmentLacks` where it is not installed."""
        compiler = shutil.which(self.compiler)
        if compiler is None:
            raise EnvironmentLacks(
                f"judging programs in {self.name!r} needs the compiler {self.compiler!r}, which is not installed"
            )
        # Where /bin is a link to /usr/bin, only the latter is among the readable paths. The program's own name stays:
        # compilers look at it to see which language they are asked for.
        return str(Path(compiler).parent.resolve() / Path(compiler).name)


@cache
def compiled_languages() -> dict[str, CompiledLanguage]:
    """All of them by name, which is that of their file."""
    files = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml"))}
    language = TypeAdapter(CompiledLanguage)
    return {name: language.validate_python({"name": name, **settings}) for name, settings in files.items()}


@dataclass(frozen=True)
class Executable:
    """A sealed memfd, open as long as this object lives; or, where `error` is set, why there is none."""

    descriptor: int = -1
    error: str | None = None

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


Key = tuple[CompiledLanguage, str, str]
_kept: OrderedDict[Key, Executable] = OrderedDict()
_in_progress: set[Key] = set()
_changed = threading.Condition()
"""Guards both; notified when a compilation ends, and when a thread that waits for its turn should wait no more."""


def compile_program(
    language: CompiledLanguage, source: str, tier: str, interruption: Interruption, deadline: float | None = None
) -> Executable:
    """The executable of a program, compiled by one thread at a time while others wait for it.

    Raises `EnvironmentLacks` without the compiler or in tier D, `InfrastructureError` where the sandbox failed, the
    compiler was killed or `interruption` was set, `DeadlinePassed` past `deadline` (in `time.monotonic`).
    """
    if tier == "D":
        raise EnvironmentLacks(f"isolation tier D cannot hold a compiler, and {language.name!r} needs one")
    key = (language, source, tier)
    with _turn(key, interruption, deadline):
        with _changed:
            program = _kept.get(key)
        if program is None:
            try:
                with tempfile.TemporaryDirectory(prefix="compile-", ignore_cleanup_errors=True) as folder:
                    program = _compile(language, source, tier, Path(folder), interruption, deadline)
            except OSError as error:
                raise InfrastructureError(f"a compiler cannot be started: {error}") from error
        with _changed:
            _kept[key] = program
            _kept.move_to_end(key)
            while len(_kept) > CACHED:
                _kept.popitem(last=False)
        return program


@contextmanager
def _turn(key: Key, interruption: Interruption, deadline: float | None) -> Iterator[None]:
    """Be the one thread that compiles this program, or looks whether it is compiled."""
    with interruption.ended_by(_wake_all), _changed:
        left = None if deadline is None else deadline - time.monotonic()
        _changed.wait_for(lambda: key not in _in_progress or interruption.is_set, left)
        interruption.check()
        if key in _in_progress:
            raise DeadlinePassed("the deadline passed while another thread compiled the program")
        _in_progress.add(key)
    try:
        yield
    finally:
        with _changed:
            _in_progress.remove(key)
            _changed.notify_all()


def _wake_all() -> None:
    with _changed:
        _changed.notify_all()


def _compile(
    language: CompiledLanguage,
    source: str,
    tier: str,
    folder: Path,
    interruption: Interruption,
    deadline: float | None,
) -> Executable:
    output = folder / "program"
    start = {
        "command": [language.find_compiler(), *(argument.format(output=output) for argument in language.arguments)],
        "tier": tier,
        "readable": language.readable,
        "writable": str(folder),
        "filter": compiler_filter().hex() if tier != "none" else "",
        "supervisor": os.getpid(),
    }
    seconds = WALL_SECONDS if deadline is None else min(WALL_SECONDS, deadline - time.monotonic())
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(source.encode("utf-8", "surrogatepass"))
        given.seek(0)
        process = subprocess.Popen(
            interpreter_command("from reward.sandbox import compile_box; compile_box.main()"),
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "LC_ALL": "C", "BOX": json.dumps(start)},
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            with interruption.ended_by(process.kill):
                status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlinePassed("the deadline passed while the program was compiled") from None
            return Executable(error=f"compiling took more than {WALL_SECONDS:g} seconds")
        finally:
            _end(process)
        interruption.check()
        size = os.fstat(errors.fileno()).st_size
        message = os.pread(errors.fileno(), MESSAGE_BYTES, 0).decode("utf-8", "replace")
        if status == FAILED:
            raise InfrastructureError(f"the compiler's sandbox failed: {message.strip()}")
        if status in (KILLED, -signal.SIGKILL) or re.fullmatch(language.killed, message):
            raise InfrastructureError(f"the compiler was killed by somebody else: {message.strip()}")
        if status != 0 or not output.is_file():
            cut = " …" if size > MESSAGE_BYTES else ""
            return Executable(error=message.strip() + cut or f"the compiler ended with status {status}")
    return Executable(_seal(output.read_bytes()))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave no process of a compilation."""
    with suppress(ProcessLookupError):  # all of them have ended, as they should
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _seal(content: bytes) -> int:
    try:
        return sealed_memory("program", [content], MFD_EXEC)
    except OSError:
        return sealed_memory("program", [content])
