"""What runs inside a test's process: the program itself, from its first line to its exit status.

The process ends without Python's own shutdown, which would cost more than everything else. So what shutdown does for
an honest program is done by hand: threads are joined, exit functions run, files that the program left open flushed.

Every object that is touched for the first time after a fork costs the copy of a page, and these are most of what a test
costs. So whatever can be looked up before the fork is, and is held by a closure.
"""

import _thread
import atexit
import os
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

FileBase = __import__("_io")._IOBase
OPENS_FILES = ("open", "Writer", "Wrapper", "FileIO")
"""Names of which every program that leaves a file open has one."""


def program_starter(
    code: CodeType, scope: dict[str, Any], *_: Any, end: Callable[[int], NoReturn] = os._exit
) -> Callable[[], NoReturn]:
    """A function that does what `python3 program.py` does, and gives its exit status to `end`."""
    run, modules, run_exit_functions, count_threads = exec, sys.modules, atexit._run_exitfuncs, _thread._count
    original, system, may_leave_files = sys.__stdout__, sys, _names_one_of(code, OPENS_FILES)

    def start() -> NoReturn:
        status = 1
        try:
            try:
                run(code, scope)
                status = 0
            except SystemExit as request:
                status = _requested_status(request)
            except BaseException:
                print_exception()
            if count_threads() and "threading" in modules:
                modules["threading"]._shutdown()
            run_exit_functions()
            stdout = system.stdout
            if stdout is original:
                if stdout is not None and not stdout.closed:
                    stdout.flush()
            else:
                _flush_both(stdout, original)
            if may_leave_files:
                for stream in scope.values():
                    if isinstance(stream, FileBase) and not stream.closed:
                        stream.flush()
        except BaseException:
            status = 1
            print_exception()
        finally:
            end(status)

    return start


def _names_one_of(code: CodeType, names: tuple[str, ...]) -> bool:
    if any(part in name for name in (*code.co_names, *code.co_varnames) for part in names):
        return True
    return any(isinstance(constant, CodeType) and _names_one_of(constant, names) for constant in code.co_consts)


def _requested_status(request: SystemExit) -> int:
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    print(request.code, file=sys.stderr)
    return 1


def _flush_both(stdout: Any, original: Any) -> None:
    for stream in (stdout, original):
        if stream is not None and not stream.closed:
            stream.flush()


def print_exception() -> None:
    """What Python prints for an exception that nobody caught, without the frames of this side."""
    error = sys.exc_info()[1]
    try:
        if error is not None:
            trace = error.__traceback__
            sys.excepthook(type(error), error, trace.tb_next if trace is not None else None)  # not this module's frame
        sys.stdout.flush()
    except BaseException:
        return
