"""What runs inside a test's process: the program itself, from its first line to its exit status.

The process ends without Python's own shutdown, which would cost more than everything else. What it does for an honest
program is done by hand: threads are joined, exit functions and finalisers run, open files flushed.

Most of what a test costs are copies of pages, one for each object that is first touched after the fork. So whatever
can be looked up before the fork is, and is held by a closure.
"""

import _thread
import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType
from typing import Any, NoReturn, TextIO

Scope = dict[str, Any]
"""The globals of a program."""
FileBase = __import__("_io")._IOBase
FINALISED = ("__del__", "FileIO", "Wrapper", "Writer")
"""Parts of names, of which every program has one whose objects need a shutdown, beside those that `open` to write."""
WRITING_MODES = frozenset(mode + kind for mode in ("w", "a", "x", "r+", "w+", "a+", "x+") for kind in ("", "b", "t"))


def program_starter(
    code: CodeType, scope: Scope, *_: object, end: Callable[[int], NoReturn] = os._exit
) -> Callable[[], NoReturn]:
    """A function that does what `python3 program.py` does, and gives its exit status to `end`."""
    run, modules, run_exit_functions, count_threads = exec, sys.modules, atexit._run_exitfuncs, _thread._count
    original, system, may_leave_objects = sys.__stdout__, sys, _may_leave_objects(code)

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
            files = _finalise() if may_leave_objects else ()
            stdout = system.stdout
            if stdout is original:
                if stdout is not None and not stdout.closed:
                    stdout.flush()
            else:
                _flush_both(stdout, original)
            for stream in files:
                with suppress(BaseException):
                    stream.flush()
        except BaseException:
            status = 1
            print_exception()
        finally:
            end(status)

    return start


def _may_leave_objects(code: CodeType) -> bool:
    """Whether the program may hold, when it ends, a file that it writes to or an object with a finaliser."""
    parts = list(_parts(code))
    names = " ".join(name for part in parts for name in (*part.co_names, *part.co_varnames))
    if any(name in names for name in FINALISED):
        return True
    return "open" in names and not all(WRITING_MODES.isdisjoint(part.co_consts) for part in parts)


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _requested_status(request: SystemExit) -> int:
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    print(request.code, file=sys.stderr)
    return 1


def _flush_both(stdout: TextIO | None, original: TextIO | None) -> None:
    for stream in (stdout, original):
        if stream is not None and not getattr(stream, "closed", False):  # a class of the program's may lack it
            stream.flush()


def _finalise() -> list[Any]:
    """Run what objects define for their end, wherever the program holds them; the files among them are left to flush.

    What fails is ignored, as when an interpreter shuts down.
    """
    files = []
    for thing in gc.get_objects():
        if issubclass(type(thing), FileBase):
            files.append(thing)
        elif (finaliser := getattr(type(thing), "__del__", None)) is not None:
            with suppress(BaseException):
                finaliser(thing)
    return files


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
