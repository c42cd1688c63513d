"""What runs inside a test's process under the `livecodebench` policy: the official checker's way to run a program.

Published scores contain its differences to `python3 program.py`: all tests run one after another in one process; a
stdin program becomes the body of one function, below a prelude of imports; its `sys.stdin` is a stand-in; only what
goes through `sys.stdout` counts; SystemExit is a normal end; a wall-clock alarm raises an exception that the program
may catch. docs/livecodebench-parity.md says what follows from that, and what is deliberately not reproduced.
"""

import ast
import builtins
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import NoReturn

from reward.sandbox.programs import EXTRA_DESCRIPTOR, Scope, Start, import_each, names_in
from reward.sandbox.protocol import CALL_FAILED, CALL_RETURNED, CALL_TOO_LONG, SHARED_RECORD

FUNCTION = "wrapped_function"
OWNER = "__owner_of_the_function__"
MAIN_GUARD = "__name__ == '__main__'"
MAX_INTEGER_DIGITS = 50_000
REFUSED_IN_OS = """
    kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink
    fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir
""".split()
IMPORTED_THERE = frozenset(["multiprocessing", "numpy"])
"""What the official checker's own process has imported, and what could not be imported once `_guard` was called."""
REFUSED_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")
SECONDS_BEYOND_THE_LIMIT = 1.0
"""CPU time that a test may take beyond the limit, which is too much already, before the process is ended."""


class TimeoutException(Exception):
    """What the alarm raises. The official checker tells it by its name, and a program may catch it."""


def compile_program(source: bytes) -> CodeType:
    """A stdin program as the body of one function, its top-level imports before it.

    A `__main__` guard counts only as the last statement. Where the text mentions a class Solution, one is made, even
    though a stdin program's class is inside the function and cannot be found. Raises what `ast.parse` raises.
    """
    body = ast.parse(source.decode("utf-8")).body  # as text: a byte order mark is a syntax error there
    if body and isinstance(last := body[-1], ast.If) and ast.unparse(last.test) == MAIN_GUARD:
        body[-1:] = last.body
    imports = [statement for statement in body if isinstance(statement, ast.Import | ast.ImportFrom)]
    rest = [statement for statement in body if not isinstance(statement, ast.Import | ast.ImportFrom)]
    text = "\n".join([*map(ast.unparse, imports), f"def {FUNCTION}():", *(_indented(one) for one in rest)])
    return compile(_with_owner(text), "<string>", "exec", dont_inherit=True)


def compile_function(source: bytes) -> CodeType:
    """A function problem's program as it is, and the object whose method is called where it has a class Solution."""
    text = source.decode("utf-8")
    return compile(_with_owner(text), "<string>", "exec", dont_inherit=True)


def _indented(statement: ast.stmt) -> str:
    # Through text and back, as the official checker does it: comments go, strings that span lines stay as they are.
    return "\n".join(f"  {line}" for line in ast.unparse(statement).split("\n"))


def _with_owner(text: str) -> ast.Module:
    tree = ast.parse(f"pass\n{text}")  # it stands below the prelude, where a future import is a syntax error
    if "class Solution" in text:
        tree.body += ast.parse(f"{OWNER} = Solution()").body
    return tree


def program_starter(code: CodeType, scope: Scope, name: str, seconds: float) -> Start:
    """Run a stdin program on the inputs that stand as a JSON list on standard input, one record of the result each."""
    return _starter(code, scope, seconds, _program_call)


def function_starter(code: CodeType, scope: Scope, name: str, seconds: float) -> Start:
    """The same for a function problem: one object for all tests, and its method called on each."""

    def call(scope: Scope, text: str) -> bytes:
        owner = scope.get(OWNER)
        function = scope[name] if owner is None else getattr(owner, name)
        value = function(*map(json.loads, text.split("\n")))
        return _encode(list(value) if isinstance(value, tuple) else value)

    return _starter(code, scope, seconds, call)


def _starter(code: CodeType, scope: Scope, seconds: float, call: Callable[[Scope, str], bytes]) -> Start:
    import_each(sorted(IMPORTED_THERE & names_in(code)))
    return lambda: _run(code, scope, seconds, call)


def _run(code: CodeType, scope: Scope, seconds: float, call: Callable[[Scope, str], bytes]) -> NoReturn:
    """A record per test until the process is told to end; nothing that a program does here can make it end well.

    A test that takes more CPU time than the limit is lost, even where the program catches the alarm or does not hear
    it in a long operation in C. SIGPROF ends such a program, for which the official checker would wait.
    """
    leave, write = os._exit, os.write
    try:
        given = json.loads(sys.stdin.read())
        os.ftruncate(0, 0)  # the official program finds an empty standard input below the stand-in
        _guard()
        del sys.modules[scope["__name__"]]  # it never was there, which shows in dataclasses with annotations in quotes
        signal.signal(signal.SIGALRM, _raise_timeout)
        _arm(seconds)
        exec(code, scope)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for text in given["inputs"]:
            started = time.process_time()
            _arm(seconds)
            try:
                outcome, value = CALL_RETURNED, call(scope, text)
            except Exception as error:
                outcome, value = (CALL_TOO_LONG if "timeoutexception" in repr(error).lower() else CALL_FAILED), b""
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            record = SHARED_RECORD.pack(outcome, time.process_time() - started, len(value)) + value
            rest = memoryview(record)
            while rest:
                rest = rest[write(EXTRA_DESCRIPTOR, rest) :]
            if given["stop_at_failure"] and outcome != CALL_RETURNED:
                break
    finally:
        leave(1)


def _arm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds + SECONDS_BEYOND_THE_LIMIT)


def _raise_timeout(number: int, frame: object) -> NoReturn:
    print("the time limit has passed")  # the official handler prints too, which spoils the output of who catches it
    raise TimeoutException


def _guard() -> None:
    """The names that the official checker takes away. Safety is the sandbox's; this is only what programs can see."""
    for name in REFUSED_IN_OS:
        setattr(os, name, None)
    for name in ("quit", "help"):
        setattr(builtins, name, None)
    for name in REFUSED_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.set_int_max_str_digits(MAX_INTEGER_DIGITS)


def _program_call(scope: Scope, text: str) -> bytes:
    captured = io.StringIO()
    captured.close = lambda unused: 1  # type: ignore[assignment,method-assign,misc]  # closing it is a TypeError there
    original = sys.stdout
    sys.stdout = captured
    try:
        with _stand_ins(text):
            scope[FUNCTION]()
    except SystemExit:
        pass
    finally:
        sys.stdout = original
    return captured.getvalue().encode("utf-8", "surrogatepass")


@contextmanager
def _stand_ins(text: str) -> Iterator[None]:
    """`sys.stdin` replaced; the object that it was, which a program may have imported, with three methods replaced."""
    original, real_open = sys.stdin, builtins.open
    lines = iter(text.split("\n"))
    methods = {"read": lambda *_: text, "readline": lambda *_: next(lines), "readlines": lambda *_: text.split("\n")}
    vars(original).update(methods)
    sys.stdin = StandInStdin(text)
    builtins.open = lambda *_, **__: io.StringIO(text)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdin, builtins.open = original, real_open
        for name in methods:
            vars(original).pop(name, None)


class StandInStdin:
    """The official stand-in: `read` always gives everything, it cannot be iterated, and see `StandInBuffer`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stream = io.StringIO(text)
        self.buffer = StandInBuffer(text)

    def read(self, *_: object) -> str:
        """Everything, whatever was read before."""
        return self.text

    def readline(self, *limit: int) -> str:
        """The next line."""
        return self.stream.readline(*limit)

    def readlines(self, *_: object) -> list[str]:
        """All lines without their ends, whatever was read before."""
        return self.text.split("\n")

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


class StandInBuffer:
    """Its `buffer`: everything, or the first line again and again."""

    def __init__(self, text: str) -> None:
        self.data = text.encode("utf-8")

    def read(self, *_: object) -> bytes:
        """Everything, whatever was read before."""
        return self.data

    def readline(self, *_: object) -> bytes:
        """Always the first line."""
        return self.data.split(b"\n")[0] + b"\n"


def _encode(value: object) -> bytes:
    """A returned value as JSON (with NaN and Infinity); nothing where no expected value can equal it."""
    try:
        return json.dumps(_plain(value)).encode("utf-8", "surrogatepass")
    except TypeError:
        return b""


def _plain(value: object) -> object:
    """The value built anew from plain parts, so that no method of the program's has a say in the comparison.

    Raises `TypeError` for what equals no JSON value: tuples below the top, sets, keys that are not text, objects.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, list):
        return [_plain(element) for element in list.__iter__(value)]
    if isinstance(value, dict):
        if not all(type(key) is str for key in dict.keys(value)):
            raise TypeError("a key that is not text")
        return {key: _plain(element) for key, element in dict.items(value)}
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return _plain(value.item())  # type: ignore[attr-defined]
    raise TypeError(f"{type(value).__name__} equals no JSON value")
