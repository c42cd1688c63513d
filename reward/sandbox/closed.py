"""Tier D: a program that can open no file at all. What it would have opened is opened for it before it starts.

Every module that its code names is imported in the template, as far as it comes with Python or is a package that
programs may import, and /dev/stdin and its like are opened by descriptor.
"""

import builtins
import io
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

IMPORTED_ON_FIRST_USE = "_strptime concurrent.futures.thread encodings.latin_1 encodings.utf_16 stringprep".split()
NUMPY_ON_FIRST_USE = "numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random".split()
"""What library functions import by themselves, long after the program has started."""
NEVER = frozenset(["antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"])
"""Modules that do something visible when they are imported, or need a screen."""
STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def import_all(code: CodeType, packages: frozenset[str]) -> None:
    """Import what `code` names anywhere. A program meets the same error when it imports a missing module itself."""
    known = sys.stdlib_module_names | packages
    names = {name for name in names_in(code) if name.partition(".")[0] in known - NEVER}
    later = IMPORTED_ON_FIRST_USE + (NUMPY_ON_FIRST_USE if "numpy" in names else [])
    for name in (*sorted(names), *later):
        try:
            __import__(name)
        except Exception:  # not a module after all, or one that cannot be imported here
            continue


def names_in(code: CodeType) -> Iterator[str]:
    """Names of modules, globals and attributes, in functions and classes, too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def open_streams_by_descriptor() -> None:
    """In the program's process: `open("/dev/stdin")` gives standard input, as it does where paths can be opened."""
    real_open = io.open

    def open_stream(file: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(file, str) and file in STREAMS:
            return real_open(STREAMS[file], *arguments, **{"closefd": False, **options})
        return real_open(file, *arguments, **options)

    builtins.open = io.open = open_stream
