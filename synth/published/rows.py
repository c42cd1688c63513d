"""One row of a published set: the problem that it states, with a solution or with tests.

The SFT set's rows are read as X-Coder's `download_and_convert_data.py` reads them: `query` and `response`. The RL set's
rows are read as its `CodeExecutionRewardManager` reads them, by `prompter_type`: `livecodebench` has its tests in
`selected_uts`, `leetcode` has assertions in `input_output`, everything else has inputs and outputs there.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

from reward.extract import extract_code, fenced_blocks, syntax_tree

# What a bracket may hold is bounded, or a text of nothing but beginnings would be read to its end from each of them.
STARTER = re.compile(r"class Solution(?:\([^)]{0,100}\))?:[ \t]*\n\s+def\s+(\w+)\s*\(\s*self\b[^)]{0,2000}\)[^\n:]*:")
UNSTATED = "unstated"
NO_SIGNATURE = "a function problem whose statement shows no signature of the function that is called"

Row = Mapping[str, object]
"""The values of a row by column, or of an object in one of them by name."""


class RowFault(ValueError):
    """Why a row cannot be used."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a row states. A row has a solution (`response` and the `code` in it), or tests, never both.

    The statement of a function problem may leave its signature open; then it is that of the solution. Tests on standard
    input whose input or output is no text are left out and counted.

    What the import adds: `task_id` names the row, and `statement_key` is the same for rows that state the same problem,
    however they give its signature. `difficulty` is the band that the set puts it into, where it has bands.
    """

    statement: str
    style: str
    function_name: str | None
    starter_code: str | None
    response: str | None = None
    code: str | None = None
    model: str | None = None
    inputs: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    tests_without_text: int = 0
    statement_key: str = ""
    task_id: str = ""
    difficulty: str | None = None


def read_sft_row(row: Row) -> Reading:
    """A statement with the complete answer, byte for byte as published. Raises `RowFault`."""
    statement, response = _text(row, "query"), _text(row, "response")
    code = extract_code(response)
    if code is None:
        raise RowFault(_lack_of_code(response))
    program = syntax_tree(code)
    if program is None:
        raise RowFault("the program does not parse as Python")
    reading = _reading(row, statement, _signature_in(statement) or _signature_of(program))
    return _encodable(replace(reading, response=response, code=code, model=_text_or_none(row, "model")))


def read_rl_row(row: Row) -> Reading:
    """A statement with its tests, in the form that the judge takes. Raises `RowFault`."""
    statement = _rl_statement(row)
    signature = _signature_in(statement) or _signature_in(_text_or_none(row, "starter_code") or "")
    kind, left_out = row.get("prompter_type"), 0
    tests = _decoded(row, "selected_uts" if kind == "livecodebench" else "input_output")
    if kind == "livecodebench" and "input_output" in tests:
        tests = _decoded(tests, "input_output")
    if kind == "leetcode":
        pairs = _assertions(tests, signature)
    elif (name := tests.get("fn_name")) is None:
        if kind != "livecodebench" and row.get("type") not in (None, "stdin_stdout"):
            raise RowFault(f"tests of an unknown type: {row['type']!r:.40}")
        signature = None
        pairs, left_out = _texts(tests)
    elif signature is None or signature[0] != str(name).rpartition(".")[2]:
        raise RowFault(NO_SIGNATURE)
    else:
        pairs = [(_arguments(given), _json(answer)) for given, answer in _pairs(tests)]
    inputs, expected = zip(*pairs, strict=True)
    reading = _reading(row, statement, signature)
    return _encodable(replace(reading, inputs=inputs, expected=expected, tests_without_text=left_out))


def _reading(row: Row, statement: str, signature: tuple[str, str] | None) -> Reading:
    name, starter = signature or (None, None)
    style = _text_or_none(row, "style") or (UNSTATED if signature is None else "leetcode")
    return Reading(statement, style, name, starter, difficulty=_text_or_none(row, "difficulty"))


def _texts(tests: Row) -> tuple[list[tuple[str, str]], int]:
    """The tests on standard input, and how many were left out. Raises the first one's `RowFault` where all are."""
    texts: list[tuple[str, str]] = []
    faults: list[RowFault] = []
    for given, answer in _pairs(tests):
        try:
            texts.append((_lines(given), _lines(answer)))
        except RowFault as fault:
            faults.append(fault)
    if not texts:
        raise faults[0]
    return texts, len(faults)


def _encodable(reading: Reading) -> Reading:
    try:
        json.dumps(asdict(reading), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RowFault("half of a surrogate pair is no text") from error
    return reading


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise RowFault(f"`{column}` holds no text")
    return value


def _text_or_none(row: Row, column: str) -> str | None:
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise RowFault(f"`{column}` holds no text")
    return value


def _lack_of_code(response: str) -> str:
    blocks = fenced_blocks(response)
    if blocks is None:
        return "the answer is cut short: reasoning or a code block is not closed"
    tags = [tag for tag, _ in blocks if tag]
    return f"no Python program, only {tags[-1]}" if tags else "no code block after the reasoning"


def _signature_in(text: str) -> tuple[str, str] | None:
    """Name and starter code of the class `Solution` that a statement shows."""
    found = STARTER.search(text)
    return None if found is None else (found[1], found[0])


def _signature_of(program: ast.Module) -> tuple[str, str] | None:
    """Name and starter code of a program that is a class `Solution` and reads nothing; None for any other program."""
    for node in ast.walk(program):
        if isinstance(node, ast.Name) and node.id in ("input", "open") or _is_stdin(node):
            return None
    for node in program.body:
        if isinstance(node, ast.ClassDef) and node.name == "Solution":
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    return method.name, _head(method)
    return None


def _head(method: ast.FunctionDef) -> str:
    try:
        returns = "" if method.returns is None else f" -> {ast.unparse(method.returns)}"
        return f"class Solution:\n    def {method.name}({ast.unparse(method.args)}){returns}:"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nesting that the parser took
        raise RowFault("the signature of the program's function cannot be written out") from error


def _is_stdin(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "stdin"
    return isinstance(node, ast.alias) and node.name in ("stdin", "fileinput")


def _rl_statement(row: Row) -> str:
    problem = row.get("problem")
    if isinstance(problem, str) and problem.strip():
        return problem
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        messages = [message for message in prompt if isinstance(message, dict)]
        asked = [message.get("content") for message in messages if message.get("role") == "user"]
        prompt = asked[-1] if asked else None
    return _text({"problem": prompt}, "problem")


def _decoded(row: Row, column: str) -> Row:
    """An object that may be JSON text, even JSON text of JSON text."""
    value = row.get(column)
    try:
        for _ in range(3):
            value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise RowFault(f"`{column}` is not valid JSON") from error
    if not isinstance(value, dict):
        raise RowFault(f"`{column}` holds no tests")
    return value


def _pairs(tests: Row) -> Iterator[tuple[object, object]]:
    inputs, outputs = tests.get("inputs"), tests.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs:
        raise RowFault("there are no tests")
    if len(inputs) != len(outputs):
        raise RowFault("there are not as many outputs as inputs")
    yield from zip(inputs, outputs, strict=True)


def _lines(value: object) -> str:
    """Text of a stdin test; some sets hold lists of lines, and numbers for lines of one number."""
    return "\n".join(map(_line, value)) if isinstance(value, list) else _line(value)


def _line(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        found = "null" if value is None else f"a value of type {type(value).__name__}"
        raise RowFault(f"a test on standard input holds {found}, which is no text")
    return format(Decimal(repr(value)), "f")  # without an exponent, which `int` does not read


def _arguments(value: object) -> str:
    if not isinstance(value, list):
        raise RowFault("the arguments of a function are not a list")
    return "\n".join(map(_json, value))


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise RowFault("a number beyond any double is no JSON") from error


def _assertions(tests: Row, signature: tuple[str, str] | None) -> list[tuple[str, str]]:
    """Inputs and outputs of assertions such as `assert candidate(nums = [1, 2], k = 1) == 3`."""
    if signature is None:
        raise RowFault(NO_SIGNATURE)
    cases = tests.get("test_cases")
    if not isinstance(cases, list) or not cases:
        raise RowFault("there are no tests")
    try:
        definition = ast.parse(signature[1] + " pass").body[0].body[0]  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RowFault("the signature in the statement is no Python") from error
    names = [argument.arg for argument in definition.args.args[1:]]
    return [_assertion(str(case), names) for case in cases]


def _assertion(case: str, names: list[str]) -> tuple[str, str]:
    try:
        (compared,) = [node.test for node in ast.walk(ast.parse(case)) if isinstance(node, ast.Assert)]
        if not isinstance(compared, ast.Compare) or not isinstance(compared.left, ast.Call):
            raise ValueError("no comparison of a call")
        if len(compared.ops) != 1 or not isinstance(compared.ops[0], ast.Eq):
            raise ValueError("another comparison than ==")
        call = compared.left
        given = {name: ast.literal_eval(value) for name, value in zip(names, call.args, strict=False)}
        given |= {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg is not None}
        if len(given) != len(call.args) + len(call.keywords) or set(given) != set(names):
            raise ValueError("other arguments than the signature's")
        arguments = "\n".join(json.dumps(given[name], allow_nan=False) for name in names)
        return arguments, json.dumps(ast.literal_eval(compared.comparators[0]), allow_nan=False)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise RowFault("a test is not a call with literals compared by == with a literal") from error
