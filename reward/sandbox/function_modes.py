"""Function problems, called for each test in a process of its own or one after another in one process; and the official
LiveCodeBench checker's ways to run programs.

These modes live in zygotes of their own, because of what they need: JSON, and the modules of the prelude.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import NoReturn

from reward.sandbox import livecodebench, protocol
from reward.sandbox.programs import EXTRA_DESCRIPTOR, Mode, Scope, Start, compile_plain, print_exception, rehearsal
from reward.sandbox.protocol import BETWEEN_SHARED_INPUTS, CALL_FAILED, CALL_RETURNED, CPU_BACKSTOP, SHARED_RECORD

PRELUDE = """
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools
import operator, io, sys, json
"""
"""What a function problem may use without importing it: LiveCodeBench's prelude, which its starter codes rely on."""


def function_starter(
    code: CodeType, scope: Scope, name: str, seconds: float, end: Callable[[int], NoReturn] = os._exit
) -> Start:
    """Call the function on the JSON arguments of standard input, write what it returns as JSON to the extra descriptor,
    and exit.

    Tuples become lists, at any depth, and numpy's scalars plain numbers; what has no JSON form is an error of the
    program. The call is a method of a fresh `Solution` where the program has that class, else a function of the module.
    What the program prints goes to standard error.
    """

    def start() -> NoReturn:
        status = 1
        try:
            arguments = _arguments(sys.stdin.read())
            exec(code, scope)
            _write_all(EXTRA_DESCRIPTOR, _call(scope, name, arguments))
            status = 0
        except BaseException:
            print_exception()
        finally:
            end(status)

    return start


def shared_starter(
    code: CodeType, scope: Scope, name: str, seconds: float, end: Callable[[int], NoReturn] = os._exit
) -> Start:
    """The same for several inputs, one record of the result each; a call that fails does not end the others.

    SIGPROF ends the process where a call takes more than about twice `seconds` of CPU time.
    """

    def start() -> NoReturn:
        status = 1
        try:
            inputs = [_arguments(text) for text in sys.stdin.read().split(BETWEEN_SHARED_INPUTS)]
            signal.setitimer(signal.ITIMER_PROF, CPU_BACKSTOP * seconds)
            exec(code, scope)
            for arguments in inputs:
                signal.setitimer(signal.ITIMER_PROF, CPU_BACKSTOP * seconds)
                started = time.process_time()
                outcome, value = CALL_RETURNED, b""
                try:
                    value = _call(scope, name, arguments)
                except BaseException:
                    outcome = CALL_FAILED
                    print_exception()
                record = SHARED_RECORD.pack(outcome, time.process_time() - started, len(value))
                _write_all(EXTRA_DESCRIPTOR, record + value)
            status = 0
        except BaseException:
            print_exception()
        finally:
            end(status)

    return start


MODES = {
    protocol.FUNCTION: Mode("solution", True, compile_plain, function_starter),
    protocol.FUNCTION_SHARED: Mode("solution", True, compile_plain, shared_starter),
    protocol.LIVECODEBENCH_PROGRAM: Mode("tmp_sol", True, livecodebench.compile_program, livecodebench.program_starter),
    protocol.LIVECODEBENCH_FUNCTION: Mode(
        "tmp_sol", True, livecodebench.compile_function, livecodebench.function_starter
    ),
}


REHEARSAL = rehearsal(
    protocol.FUNCTION_SHARED,
    b"""
class Solution:
    def count(self, words: List[str], numbers: List[int]) -> dict:
        counts = defaultdict(int)
        for word in words:
            counts[word] += len(word)
        return {"counts": sorted(counts), "sum": sum(numbers), "half": numbers[0] / 2}
""",
    b"count",
    BETWEEN_SHARED_INPUTS.join(['["a", "b", "a"]\n[3, 4]', '["c"]\n[5]']).encode(),
)


def make_prelude() -> ModuleType:
    """A module that holds the prelude's names. A job's program is run in it: copying the names would touch them all."""
    prelude = ModuleType("solution", "")
    exec(PRELUDE, prelude.__dict__)
    return prelude


def _arguments(text: str) -> list[object]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _call(scope: Scope, name: str, arguments: list[object]) -> bytes:
    function = getattr(scope["Solution"](), name) if "Solution" in scope else scope[name]
    return json.dumps(function(*arguments), allow_nan=False, separators=(",", ":"), default=_plain_scalar).encode()


def _plain_scalar(value: object) -> object:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()  # type: ignore[attr-defined]
    raise TypeError(f"{type(value).__name__} is not a plain value")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
