"""How a task's values reach a program: lines on standard input, or arguments of a function."""

import json
import random
from dataclasses import dataclass

from synth.procedural.operations import WORDINGS, Kind, Values

ALPHABET = "abcde"


@dataclass(frozen=True)
class InputForm:
    """One way to hand over the values, and `k` where `has_k`. `readers` are codes that fill `{v}`.

    A function form has `parameters` (name and type), and its readers copy the first of them.
    """

    name: str
    values: Kind
    has_k: bool
    phrasings: tuple[str, ...]
    readers: tuple[str, ...]
    variables: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def feature(self) -> str:
        """The form's path in the feature tree."""
        return f"input/{'function' if self.parameters else 'stdin'}/{self.name}"


def _form(name: str, values: Kind, *readers: str, parameters: tuple[tuple[str, str], ...] = ()) -> InputForm:
    has_k = name.endswith(" k")
    variables = ("a", "nums" if values == "numbers" else "words", "arr")
    return InputForm(name, values, has_k, tuple(WORDINGS["input"][name]), readers, variables, parameters)


_ALL_DATA = "import sys\ndata = sys.stdin.read().split()\n"

STDIN_FORMS = (
    _form(
        "line of integers",
        "numbers",
        "{v} = list(map(int, input().split()))",
        "{v} = [int(t) for t in input().split()]",
    ),
    _form(
        "counted integers",
        "numbers",
        "n = int(input())\n{v} = list(map(int, input().split()))",
        _ALL_DATA + "n = int(data[0])\n{v} = [int(t) for t in data[1:n + 1]]",
    ),
    _form(
        "counted integers with k",
        "numbers",
        "n, k = map(int, input().split())\n{v} = list(map(int, input().split()))",
        _ALL_DATA + "n, k = int(data[0]), int(data[1])\n{v} = [int(t) for t in data[2:n + 2]]",
    ),
    _form("line of words", "words", "{v} = input().split()", "import sys\n{v} = sys.stdin.readline().split()"),
)

FUNCTION_FORMS = (
    _form("integer list", "numbers", "{v} = nums", parameters=(("nums", "list[int]"),)),
    _form("integer list and k", "numbers", "{v} = nums", parameters=(("nums", "list[int]"), ("k", "int"))),
    _form("word list", "words", "{v} = words", parameters=(("words", "list[str]"),)),
)

FORMS = {form.name: form for form in STDIN_FORMS + FUNCTION_FORMS}


@dataclass(frozen=True)
class Instance:
    """The values of one test input; `k` is 0 where the form has none."""

    values: Values
    k: int


def draw_instance(form: InputForm, rng: random.Random) -> Instance:
    """Random values of 4 to 12 integers within 50 of zero, or 3 to 9 words of 1 to 6 letters."""
    if form.values == "words":
        words = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 6))) for _ in range(rng.randint(3, 9))]
        if rng.random() < 0.6:
            words.insert(rng.randrange(len(words)), rng.choice(words))
        return Instance(words, 0)
    high = rng.choice((9, 20, 50))
    low = rng.choice((-high, -high, 0))
    numbers = rng.choices(range(low, high + 1), k=rng.randint(4, 12))
    if rng.random() < 0.6:
        numbers[rng.randrange(len(numbers))] = rng.choice(numbers)
    return Instance(numbers, rng.randint(2, 4) if form.has_k else 0)


def write_instance(form: InputForm, instance: Instance) -> str:
    """The test input's text: standard input, or one JSON argument per line."""
    if form.parameters:
        arguments = [instance.values, instance.k][: len(form.parameters)]
        return "\n".join(json.dumps(argument) for argument in arguments)
    line = " ".join(map(str, instance.values)) + "\n"
    if form.has_k:
        return f"{len(instance.values)} {instance.k}\n{line}"
    return f"{len(instance.values)}\n{line}" if form.name == "counted integers" else line


def read_instance(form: InputForm, text: str) -> Instance:
    """The inverse of `write_instance`."""
    if form.parameters:
        arguments = [json.loads(line) for line in text.split("\n")]
        return Instance(arguments[0], arguments[1] if form.has_k else 0)
    if form.values == "words":
        return Instance(text.split(), 0)
    numbers = [int(token) for token in text.split()]
    if form.has_k:
        return Instance(numbers[2:], numbers[1])
    return Instance(numbers[1:] if form.name == "counted integers" else numbers, 0)
