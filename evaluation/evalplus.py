"""HumanEval and MBPP, also with the tests of EvalPlus (Liu et al. 2023): problems from local files, and their judging.

The rows of OpenAI's `HumanEval.jsonl.gz` and of EvalPlus (`evalplus/humanevalplus` and `evalplus/mbppplus` on the hub,
`HumanEvalPlus-OriginFmt.jsonl`) hold a test program each: HumanEval's defines `check(candidate)`, MBPP's calls the
function itself. With the function's name and what the prompt defines before it, such a program is the input of the
problem's one test. `MbppPlus.jsonl` of EvalPlus itself holds assertions of the original MBPP and inputs without
outputs; it is read as what it can judge by: MBPP, not MBPP+.

Two programs judge a model's program, each in a sandbox process of its own. The first runs the model's program and the
test program, and notes what the function gave at each call. This note is all that leaves its process. `CHECKER` runs
the test program again with the noted results in the function's place. Only there do assertions decide, and nothing of
the model's runs there: so a program passes by its results and nothing else.

Results cross as plain values: what is derived from a plain type becomes that type, an iterator its first elements, and
anything else, such as a function or an instance, an object that equals only itself. The checker's unpickler knows types
that cannot be changed, and nothing else.
"""

import ast
import builtins
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from reward.extract import extract_code, fenced_blocks, is_python, parses, syntax_tree
from xcoder_core.errors import InputError
from xcoder_core.files import unpacked_stem
from xcoder_core.models.reasoning import after_reasoning
from xcoder_core.problem import Limits, Problem, TestCase, problem_id
from xcoder_core.rows import sound_rows

STYLE = "evalplus"
# EvalPlus gives a program of HumanEval+ about a second and 4 GiB; one process runs all of a problem's inputs here, and
# imports numpy first, so it has ten.
LIMITS = Limits(seconds=10.0, memory_mib=4096)
WORDING = (
    "Solve this problem by a complete Python program, with every import and helper that it needs. Give the whole of it "
    "in one Markdown code block.\n\n```python\n{statement}\n```"
)
STOP = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint(")
"""Where a base model that continues a function has left it; what it writes next is no part of the answer."""


def load_evalplus(path: Path) -> Benchmark:
    """Every row as one problem with one test. Raises InputError with the row and the field that is wrong."""
    problems: list[Problem] = []
    tests: dict[str, tuple[TestCase, ...]] = {}
    kinds: dict[str, str] = {}
    checker = json.dumps({"kind": "program", "code": CHECKER})
    for place, row in sound_rows(path, "HumanEval or MBPP in the format of EvalPlus (JSONL or Parquet)", strict=False):
        statement, name, test, kind = _read(row, str(place))
        source = f"evalplus:{row['task_id']}"
        identity = problem_id(statement, "stdin", None, None)
        if identity in tests or source in (problem.source for problem in problems):
            same = "problem" if identity in tests else f"task_id {row['task_id']!r}"
            raise InputError(f"{place}: the same {same} as an earlier row; remove one of them")
        problems.append(
            Problem(identity, statement, STYLE, "stdin", name, checker=checker, limits=LIMITS, source=source)
        )
        given = json.dumps({"name": name, "preamble": _preamble(statement, name), "test": test})
        tests[identity] = (TestCase(identity, 0, given, "", "private"),)
        kinds[identity] = kind
    sets = ", ".join(f"{kind}: {list(kinds.values()).count(kind)}" for kind in dict.fromkeys(kinds.values()))
    stem = unpacked_stem(path)
    return Benchmark(
        name=stem,
        problems=problems,
        tests=tests,
        group=kinds,
        grouping="set",
        files=(path,),
        description=f"{stem}: {len(problems)} problems of {path.name} ({sets}), judged by their test programs",
    )


def program_in(problem: Problem, completion: str, extract: Callable[[str], str | None]) -> str | None:
    """The program of an answer: what `extract` says, and for a problem of this module, where that is the rewards' rule,
    the last block that holds the function. Models like to show afterwards how it is used. Without any block the whole
    answer may be it."""
    blocks = fenced_blocks(completion) if problem.style == STYLE and extract is extract_code else None
    if blocks is None:
        return extract(completion)
    programs = [text for tag, text in blocks if is_python(tag)] or [after_reasoning(completion) or ""]
    return next((code for code in reversed(programs) if _whole(problem, code)), extract(completion))


def program_under_test(problem: Problem, code: str) -> str:
    """What is judged for a model's program: itself, or for a problem of this module the recorder around it. Text that
    is not Python stays as it is, so that the judge says so."""
    if problem.style != STYLE:
        return code
    whole = _whole(problem, code) or code
    return f"{_RECORDER}\nrecord({whole!r})\n" if parses(whole) else whole


def _whole(problem: Problem, code: str) -> str | None:
    """The program that defines the function: `code`, or the prompt that it continues with it. None where none does."""
    tree = syntax_tree(code)
    if tree is not None and _ends_of(problem, tree):
        return code
    if tree is None or any(isinstance(node, ast.Return) for node in _outside_definitions(tree)):
        for indent in ("", "    "):  # cutting blanks off both ends of a text takes the first line's too
            joined = f"{problem.statement}\n{indent}{code}"
            whole = syntax_tree(joined)
            if whole is not None and max(_ends_of(problem, whole), default=0) > problem.statement.count("\n") + 1:
                return joined
    return None


def _outside_definitions(tree: ast.Module) -> Iterator[ast.AST]:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for statement in tree.body:
        yield from () if isinstance(statement, definitions) else ast.walk(statement)


def _ends_of(problem: Problem, tree: ast.Module) -> list[int]:
    """The last lines of whatever gives the problem's function its name."""
    found = []
    for node in ast.walk(tree):
        named = getattr(node, "asname", None) or getattr(node, "name", None)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            named = node.id
        if named == problem.function_name:
            found.append(getattr(node, "end_lineno", 0) or 0)
    return found


def _preamble(statement: str, name: str) -> str:
    """The prompt as a program, for what stands in it before the function; nothing where it is English."""
    stubs = (statement, f"{statement}\n    pass") if re.search(rf"^\s*(async )?def {name}\b", statement, re.M) else ()
    return next(filter(parses, stubs), "")


def _read(row: Mapping[str, Any], where: str) -> tuple[str, str, str, str]:
    """The statement that a model is shown, the function's name, the test program, and the set that it belongs to."""
    for name in ("task_id", "prompt"):
        if name not in row:
            raise InputError(f"{where}: the field {name!r} is missing; rows of EvalPlus have it")
    prompt, entry_point, test = row["prompt"], row.get("entry_point"), row.get("test")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{where}, field 'prompt': expected text, found {type(prompt).__name__}")
    if entry_point is not None and not (isinstance(entry_point, str) and entry_point.isidentifier()):
        raise InputError(f"{where}, field 'entry_point': expected a Python name, found {entry_point!r}")
    family, asserts = "MBPP", row.get("test_list")
    if isinstance(row.get("assertion"), str) and not isinstance(test, str):
        test, family = row["assertion"], "MBPP (the base assertions alone)"
    elif not isinstance(test, str):
        raise InputError(
            f"{where}: there is neither a `test` nor an `assertion` program to judge by. Expected the rows of "
            "HumanEval or of evalplus/humanevalplus or evalplus/mbppplus, or HumanEvalPlus-OriginFmt.jsonl"
        )
    elif re.search(r"^def check\(", test, re.M) and entry_point is not None:
        test, family = f"{test}\n\ncheck({entry_point})\n", "HumanEval"
    if "def assertion(" in test:  # EvalPlus' own comparison, which its larger sets bring along
        family += "+"
    if isinstance(asserts, list) and asserts and not prompt.lstrip().startswith(('"', "'")):
        # MBPP names the function only in its tests, so models are shown the first one, as EvalPlus does.
        prompt = f'"""\n{prompt.strip()}\n{asserts[0]}\n"""'
    imports = "".join(f"{line}\n" for line in row.get("test_imports") or ())
    called = entry_point or _called(str(asserts[0]) if isinstance(asserts, list) and asserts else test)
    if called is None:
        raise InputError(f"{where}: neither `entry_point` nor the first of `test_list` says which function is judged")
    return prompt.strip(), called, imports + test, family


def _called(test: str) -> str | None:
    """The function under test that an assertion calls: the innermost name that is not Python's own."""
    tree = syntax_tree(test)
    calls = [] if tree is None else [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.id for call in calls if isinstance(call, ast.Name) and call.id not in dir(builtins)]
    return names[-1] if names else None


_PLAIN = "(int, float, complex, str, bytes, bytearray, tuple, list, set, frozenset, dict, collections.deque)"

# Runs a program and the test program that is on standard input, and prints the note for `CHECKER`.
_RECORDER = f"""\
import base64, collections.abc, io, itertools, json, pickle, random, sys, types

PLAIN = {_PLAIN}

class Note(pickle.Pickler):
    def reducer_override(self, value):
        if type(value) in PLAIN or isinstance(value, type) and value in (*PLAIN, object):
            return NotImplemented
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            value = value.item()
        kind = next((kind for kind in PLAIN if isinstance(value, kind)), None)
        return (object, ()) if kind is None else (kind, (kind(value),))

def noted(value):
    try:
        file = io.BytesIO()
        Note(file, 4).dump(value)
        return file.getvalue()
    except Exception:
        return pickle.dumps(object(), 4)

def record(code):
    given, out = json.load(sys.stdin), sys.stdout
    sys.stdin, sys.stdout = io.StringIO(), io.StringIO()
    name, calls = given["name"], []
    module = sys.modules["solution"] = types.ModuleType("solution")
    exec(compile(given["preamble"], "prompt.py", "exec", dont_inherit=True), vars(module))
    vars(module).pop(name, None)
    exec(compile(code, "solution.py", "exec", dont_inherit=True), vars(module))
    function = getattr(module, name)

    def call(*args, **named):
        before, state = noted(args), random.getstate()
        try:
            result = function(*args, **named)
        except Exception as error:
            calls.append(("error", noted((type(error).__name__, str(error))), None))
            raise
        finally:
            random.setstate(state)  # what the test draws must not depend on what the function drew
        is_iterator = isinstance(result, collections.abc.Iterator)
        if is_iterator:
            result = list(itertools.islice(result, 100_000))
        after = noted(args)
        calls.append(("iterator" if is_iterator else "value", noted(result), None if after == before else after))
        return iter(result) if is_iterator else result

    random.seed(0)
    try:
        names = {{**vars(module), "__name__": "test", name: call}}
        exec(compile(given["test"], "test.py", "exec", dont_inherit=True), names)
    except AssertionError:
        pass
    out.write("\\n" + base64.b64encode(noted(calls)).decode())
    out.flush()
"""

CHECKER = f"""\
import base64, builtins, collections, io, json, pickle, random, sys

TYPES = {{kind.__name__: kind for kind in (*{_PLAIN}, object)}}

class Plain(pickle.Unpickler):
    def find_class(self, module, name):
        return TYPES[name]

def read(data):
    return Plain(io.BytesIO(data)).load()

def check(given, note):
    def replay(*args, **named):
        outcome, value, changed = next(calls)
        value = read(value)
        if outcome == "error":
            raise getattr(builtins, value[0], Exception)(value[1])
        for ours, theirs in zip(args, read(changed) if changed else ()):
            if type(ours) in (list, dict, set):
                ours.clear()
                (ours.extend if type(ours) is list else ours.update)(theirs)
        return iter(value) if outcome == "iterator" else value

    calls = iter(read(base64.b64decode(note)))
    names = {{"__name__": "solution"}}
    exec(compile(given["preamble"], "prompt.py", "exec", dont_inherit=True), names)
    random.seed(0)
    names[given["name"]] = replay
    exec(compile(given["test"], "test.py", "exec", dont_inherit=True), names)

sizes = [int(size) for size in sys.stdin.buffer.readline().split()]
given, note, _ = (sys.stdin.buffer.read(size) for size in sizes)
out, sys.stdout, answer = sys.stdout, io.StringIO(), "refuse"
try:
    check(json.loads(given), note.rpartition(b"\\n")[2])
    answer = "accept"
except BaseException:
    pass
out.write(answer)
out.flush()
"""
