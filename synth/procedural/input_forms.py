"""How a task's values reach a program: lines on standard input, or arguments of a function."""

import json
import random
from dataclasses import dataclass

from synth.procedural.operation import Kind, Values

ALPHABET = "abcde"


@dataclass(frozen=True)
class InputForm:
    """One way to hand over the values, and `k` where `has_k`.

    `phrasings` describe the input in a statement. `readers` are codes that fill `{v}`. A function form has
    `parameters` (name and type) instead of standard input, and its readers copy the first of them.
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


_NUMBER_VARIABLES = ("a", "nums", "arr")
_WORD_VARIABLES = ("a", "words", "arr")

STDIN_FORMS = (
    InputForm(
        "line of integers",
        "numbers",
        False,
        ("a line of integers", "integers on one line", "one line with integers"),
        ("{v} = list(map(int, input().split()))", "{v} = [int(t) for t in input().split()]"),
        _NUMBER_VARIABLES,
    ),
    InputForm(
        "counted integers",
        "numbers",
        False,
        ("n, then a line of n integers", "the number n and on the next line n integers", "first n, then n integers"),
        (
            "n = int(input())\n{v} = list(map(int, input().split()))",
            "import sys\ndata = sys.stdin.read().split()\nn = int(data[0])\n{v} = [int(t) for t in data[1:n + 1]]",
        ),
        _NUMBER_VARIABLES,
    ),
    InputForm(
        "counted integers with k",
        "numbers",
        True,
        (
            "n and k, then a line of n integers",
            "the numbers n and k and on the next line n integers",
            "first n and k, then n integers",
        ),
        (
            "n, k = map(int, input().split())\n{v} = list(map(int, input().split()))",
            "import sys\ndata = sys.stdin.read().split()\nn, k = int(data[0]), int(data[1])\n"
            "{v} = [int(t) for t in data[2:n + 2]]",
        ),
        _NUMBER_VARIABLES,
    ),
    InputForm(
        "line of words",
        "words",
        False,
        ("a line of words", "words on one line", "one line with words"),
        ("{v} = input().split()", "import sys\n{v} = sys.stdin.readline().split()"),
        _WORD_VARIABLES,
    ),
)

FUNCTION_FORMS = (
    InputForm(
        "integer list",
        "numbers",
        False,
        ("a list nums of integers", "integers nums", "the integer list nums"),
        ("{v} = nums",),
        _NUMBER_VARIABLES,
        (("nums", "list[int]"),),
    ),
    InputForm(
        "integer list and k",
        "numbers",
        True,
        ("a list nums of integers and an integer k", "integers nums and k", "the integer list nums and the number k"),
        ("{v} = nums",),
        _NUMBER_VARIABLES,
        (("nums", "list[int]"), ("k", "int")),
    ),
    InputForm(
        "word list",
        "words",
        False,
        ("a list words of strings", "strings words", "the string list words"),
        ("{v} = words",),
        _WORD_VARIABLES,
        (("words", "list[str]"),),
    ),
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
    """The test input's text: what stands on standard input, or one JSON argument per line."""
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
