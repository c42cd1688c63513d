"""Compiling a program inside the sandbox, once: what comes out is a sealed executable in memory, or the reason why not.

The compiler reads hostile text, so it runs like a program: in the tier's isolation, with limits on CPU time, memory,
files and wall clock, and it may read only what its language names.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from functools import lru_cache
from pathlib import Path

from reward.language import CompiledLanguage
from reward.sandbox.compile_box import FAILED
from reward.sandbox.filters import compiler_filter
from xcoder_train.core.errors import EnvironmentLacks, InfrastructureError

WALL_SECONDS = 60.0
MESSAGE_BYTES = 2_000
CACHED = 64
"""Executables kept, of about 2 MB each: rollouts of a group and a resumed evaluation repeat programs."""
MFD_EXEC = 0x10
"""Since Linux 6.3, where a memfd may otherwise be refused execution; older kernels refuse the flag."""
SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL
ROOT = str(Path(__file__).resolve().parents[1])
BOX = f"import sys; sys.path.insert(0, {ROOT!r}); from reward.sandbox import compile_box; compile_box.main()"


@dataclass(frozen=True)
class Executable:
    """A sealed memfd, open as long as this object lives; or, where `error` is set, why there is none."""

    descriptor: int = -1
    error: str | None = None

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


@lru_cache(maxsize=CACHED)
def compile_program(language: CompiledLanguage, source: str, tier: str) -> Executable:
    """The executable of a program.

    Raises `EnvironmentLacks` without the compiler or in tier D, `InfrastructureError` where the sandbox failed.
    """
    if tier == "D":
        raise EnvironmentLacks(f"isolation tier D cannot hold a compiler, and {language.name!r} needs one")
    folder = Path(tempfile.mkdtemp(prefix="compile-"))
    try:
        return _compile(language, source, tier, folder)
    finally:
        shutil.rmtree(folder)


def _compile(language: CompiledLanguage, source: str, tier: str, folder: Path) -> Executable:
    output = folder / "program"
    start = {
        "command": language.command(output),
        "tier": tier,
        "readable": language.readable,
        "writable": str(folder),
        "filter": compiler_filter().hex() if tier != "none" else "",
    }
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(source.encode("utf-8", "surrogatepass"))
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-S", "-B", "-c", BOX],
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "LC_ALL": "C", "BOX": json.dumps(start)},
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = process.wait(WALL_SECONDS)
        except subprocess.TimeoutExpired:
            return Executable(error=f"compiling took more than {WALL_SECONDS:g} seconds")
        finally:
            _end(process)
        size = os.fstat(errors.fileno()).st_size
        message = os.pread(errors.fileno(), MESSAGE_BYTES, 0).decode("utf-8", "replace")
        if status == FAILED:
            raise InfrastructureError(f"the compiler's sandbox failed: {message.strip()}")
        if status != 0 or not output.is_file():
            cut = " …" if size > MESSAGE_BYTES else ""
            return Executable(error=message.strip() + cut or f"the compiler ended with status {status}")
    return Executable(_seal(output.read_bytes()))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing of a compilation outlives it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all of it has ended, as it should
        return
    finally:
        process.wait()


def _seal(content: bytes) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("program", flags | MFD_EXEC)
    except OSError:
        descriptor = os.memfd_create("program", flags)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    fcntl(descriptor, F_ADD_SEALS, SEALS)
    return descriptor
