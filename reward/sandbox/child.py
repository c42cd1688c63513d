"""What runs inside a test's process: the program itself, from its first line to its exit status.

The process ends without Python's own shutdown, which would cost more than everything else. So what shutdown does for
an honest program is done by hand: threads are joined, exit functions run, files that the program left open flushed.
"""

import json
import os
import sys
from types import CodeType
from typing import Any, NoReturn

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
    if threading is not None and len(threading._active) > 1:  # type: ignore[attr-defined]
        threading._shutdown()  # type: ignore[attr-defined]
    atexit = sys.modules.get("atexit")
    if atexit is not None:
        atexit._run_exitfuncs()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.__stdout__, *scope.values()):
        if isinstance(stream, FileBase) and not stream.closed:
            stream.flush()


def _print_exception() -> None:
    try:
        sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
    except BaseException:
        return


def run_function(code: CodeType, scope: dict[str, Any], name: str, result: int) -> NoReturn:
    """Call the function on the JSON arguments of standard input, write what it returns as JSON to `result`, and exit.

    Tuples become lists, at any depth; what has no JSON form is an error of the program. The call is a method of a
    fresh `Solution` where the program has that class, else a function of the module. What the program prints goes to
    standard error.
    """
    status = 1
    try:
        arguments = [json.loads(line) for line in sys.stdin.read().split("\n") if line.strip()]
        dumps, write = json.dumps, os.write
        exec(code, scope)
        function = getattr(scope["Solution"](), name) if "Solution" in scope else scope[name]
        data = memoryview(dumps(function(*arguments), allow_nan=False, separators=(",", ":")).encode())
        while data:
            data = data[write(result, data) :]
        status = 0
    except BaseException:
        _print_exception()
    finally:
        os._exit(status)
