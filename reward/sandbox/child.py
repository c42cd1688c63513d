"""What runs inside a test's process: the program itself, from its first line to its exit status.

The process ends without Python's own shutdown, which would cost more than everything else. So what shutdown does for
an honest program is done by hand: threads are joined, exit functions run, files that the program left open flushed.
"""

import atexit
import json
import os
import signal
import sys
import time
from types import CodeType
from typing import Any, NoReturn

from reward.sandbox.protocol import BETWEEN_SHARED_INPUTS, CALL_FAILED, CALL_RETURNED, SHARED_RECORD

FileBase = __import__("_io")._IOBase


def run_program(code: CodeType, scope: dict[str, Any]) -> NoReturn:
    """Do what `python3 program.py` does, and exit with its status."""
    status = 1
    try:
        status = _execute(code, scope)
        _finish(scope)
    except BaseException:
        status = 1
        _print_exception()
    finally:
        os._exit(status)


def _execute(code: CodeType, scope: dict[str, Any]) -> int:
    try:
        exec(code, scope)
    except SystemExit as request:
        if request.code is None:
            return 0
        if isinstance(request.code, int):
            return request.code & 0xFF
        print(request.code, file=sys.stderr)
        return 1
    except BaseException:
        _print_exception()
        return 1
    return 0


def _finish(scope: dict[str, Any]) -> None:
    threading = sys.modules.get("threading")
    if threading is not None and len(threading._active) > 1:
        threading._shutdown()
    atexit._run_exitfuncs()
    stdout, original = sys.stdout, sys.__stdout__
    if stdout is not None and not stdout.closed:
        stdout.flush()
    if original is not stdout and original is not None and not original.closed:
        original.flush()
    for stream in scope.values():
        if isinstance(stream, FileBase) and not stream.closed:
            stream.flush()


def _print_exception() -> None:
    error = sys.exc_info()[1]
    try:
        if error is not None:
            trace = error.__traceback__
            sys.excepthook(type(error), error, trace.tb_next if trace is not None else None)  # not this module's frame
        sys.stdout.flush()
    except BaseException:
        return


def run_function(code: CodeType, scope: dict[str, Any], name: str, result: int) -> NoReturn:
    """Call the function on the JSON arguments of standard input, write what it returns as JSON to `result`, and exit.

    Tuples become lists, at any depth, and numpy's scalars plain numbers; what has no JSON form is an error of the
    program. The call is a method of a fresh `Solution` where the program has that class, else a function of the module.
    What the program prints goes to standard error.
    """
    status = 1
    try:
        arguments = _arguments(sys.stdin.read())
        exec(code, scope)
        _write_all(result, _call(scope, name, arguments))
        status = 0
    except BaseException:
        _print_exception()
    finally:
        os._exit(status)


def run_function_shared(code: CodeType, scope: dict[str, Any], name: str, result: int, seconds: float) -> NoReturn:
    """The same for several inputs, one record of the result each; a call that fails does not end the others.

    SIGPROF ends the process where a call takes more than about `seconds` of CPU time.
    """
    status = 1
    try:
        inputs = [_arguments(text) for text in sys.stdin.read().split(BETWEEN_SHARED_INPUTS)]
        signal.setitimer(signal.ITIMER_PROF, seconds)
        exec(code, scope)
        for arguments in inputs:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            started = time.process_time()
            outcome, value = CALL_RETURNED, b""
            try:
                value = _call(scope, name, arguments)
            except BaseException:
                outcome = CALL_FAILED
                _print_exception()
            _write_all(result, SHARED_RECORD.pack(outcome, time.process_time() - started, len(value)) + value)
        status = 0
    except BaseException:
        _print_exception()
    finally:
        os._exit(status)


def _arguments(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _call(scope: dict[str, Any], name: str, arguments: list[Any]) -> bytes:
    function = getattr(scope["Solution"](), name) if "Solution" in scope else scope[name]
    return json.dumps(function(*arguments), allow_nan=False, separators=(",", ":"), default=_plain_scalar).encode()


def _plain_scalar(value: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a plain value")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
