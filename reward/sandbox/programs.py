"""The two kinds of program that a test's process can become: Python code in the process as it is, or an executable."""

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from types import CodeType
from typing import Any, NoReturn

from reward.sandbox import child, closed, kernel, livecodebench
from reward.sandbox.protocol import FUNCTION, LIVECODEBENCH_FUNCTION, LIVECODEBENCH_PROGRAM, PROGRAM

EXTRA_DESCRIPTOR = 3
"""What a program has beside its standard streams: where a function's results go, or the executable."""
CPU_BACKSTOP = 2
"""RLIMIT_CPU as a multiple of the CPU limit, for a child whose template is gone."""
SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281}[os.uname().machine]
AT_EMPTY_PATH = 0x1000
EXECUTABLE_BYTES = 16 << 20
"""Address space for a static executable's own code and data, beside the memory limit."""


@dataclass(slots=True)
class PythonProgram:
    """Compiled Python code with its globals; in the function modes, the function's `name`."""

    mode: int
    code: CodeType
    scope: dict[str, Any]
    name: str
    call_cpu: float
    is_closed: bool

    @property
    def prints(self) -> bool:
        """True where standard output is the answer; else that is a record of what a function returned."""
        return self.mode == PROGRAM

    def extra_descriptor(self, output: int) -> int | None:
        """What becomes `EXTRA_DESCRIPTOR`, if anything."""
        return None if self.prints else output

    def limit(self) -> None:
        """Nothing beyond what the template has set."""

    def run(self) -> NoReturn:
        """Run in this process and end it."""
        if self.is_closed:
            closed.open_streams_by_descriptor()
        if self.mode == PROGRAM:
            child.run_program(self.code, self.scope)
        if self.mode == FUNCTION:
            child.run_function(self.code, self.scope, self.name, EXTRA_DESCRIPTOR)
        if self.mode == LIVECODEBENCH_PROGRAM:
            livecodebench.run_program(self.code, self.scope, EXTRA_DESCRIPTOR, self.call_cpu)
        if self.mode == LIVECODEBENCH_FUNCTION:
            livecodebench.run_function(self.code, self.scope, self.name, EXTRA_DESCRIPTOR, self.call_cpu)
        child.run_function_shared(self.code, self.scope, self.name, EXTRA_DESCRIPTOR, CPU_BACKSTOP * self.call_cpu)


@dataclass(slots=True)
class NativeProgram:
    """A static executable in a sealed memfd. `memory` is its limit in bytes."""

    executable: int
    memory: int
    prints: bool = True

    def extra_descriptor(self, output: int) -> int | None:
        """The executable: it stays reachable when everything else is closed."""
        return self.executable

    def limit(self) -> None:
        """The memory limit without what Python itself needs, which also bounds the stack; signals as a program expects
        them, not as Python sets them."""
        address_space = self.memory + EXECUTABLE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        stack = self.memory if hard == resource.RLIM_INFINITY else min(self.memory, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    def run(self) -> NoReturn:
        """Become the executable. Returns, to be killed as a failure of ours, only where the kernel refuses."""
        arguments = (ctypes.c_char_p * 2)(b"program", None)
        environment = (ctypes.c_char_p * 1)(None)
        kernel.check(
            kernel.libc.syscall(SYS_EXECVEAT, EXTRA_DESCRIPTOR, b"", arguments, environment, AT_EMPTY_PATH), "execveat"
        )
        raise AssertionError("execveat returned")
