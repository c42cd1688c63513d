"""What an operation is: one step of a task, with its truth, its wordings and its code in three styles.

Codes are templates: `{v}` is the variable that holds the values and is overwritten, `{c}` the parameter.
The three code styles are, in order: comprehension, loop, functional. Wordings stand in `wordings.toml`.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Kind = Literal["numbers", "words"]
Values = list[int] | list[str]
Answer = int | str | Values
Parameter = Literal["amount", "divisor", "count", "length", "prefix", "letter"]
Codes = tuple[str, str, str]
AnswerCodes = tuple[tuple[str, str], tuple[str, str], tuple[str, str]]

CODE_STYLES = ("comprehension", "loop", "functional")

WORDINGS = tomllib.loads(Path(__file__).with_name("wordings.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Way:
    """One way to do a step: `apply` computes it from the list and the parameter, `codes` are programs that do."""

    apply: Callable[..., list]
    codes: Codes


@dataclass(frozen=True)
class Operation:
    """One step that turns values into values.

    `apply` is the truth: it takes the list and the parameter and returns a new list. `slip` is the operation that a
    careless programmer writes instead.
    """

    name: str
    group: str
    takes: Kind
    gives: Kind
    phrasings: tuple[str, ...]
    apply: Callable[..., list]
    codes: Codes
    parameter: Parameter | None = None
    slip: "Operation | None" = None

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        kind = "list" if self.takes == "numbers" else "word"
        return f"{kind} operation/{self.group}/{self.name}"


@dataclass(frozen=True)
class AnswerWay:
    """One way to give the answer: `apply` computes it from the list, `codes` are programs that do."""

    apply: Callable[..., Answer]
    codes: AnswerCodes


@dataclass(frozen=True)
class OutputOperation:
    """The last step: it turns values into the answer.

    `phrasings` name the answer ("the sum"), so that every statement style can put its own verb before them. `codes`
    are, per style, the lines that go before and the expression of the answer; `returns` is the answer's type, and a
    list is printed with spaces between its elements.
    """

    name: str
    takes: Kind
    phrasings: tuple[str, ...]
    apply: Callable[..., Answer]
    codes: AnswerCodes
    returns: Literal["int", "str", "list[int]", "list[str]"]
    slip: "OutputOperation | None" = None

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        return f"output/{self.takes}/{self.name}"


def operation(
    group: str,
    name: str,
    right: Way,
    slip: Way,
    parameter: Parameter | None = None,
    takes: Kind = "numbers",
    gives: Kind = "numbers",
) -> Operation:
    """The operation that is done in the way `right`, and by a careless programmer in the way `slip`."""
    wordings = tuple(WORDINGS[takes][name])
    made = Operation(name, group, takes, gives, wordings, right.apply, right.codes, parameter)
    return replace(made, slip=replace(made, apply=slip.apply, codes=slip.codes))


def output(
    name: str,
    right: AnswerWay,
    slip: AnswerWay | None = None,
    takes: Kind = "numbers",
    returns: Literal["int", "str", "list[int]", "list[str]"] = "int",
) -> OutputOperation:
    """The last step that is done in the way `right`, and by a careless programmer in the way `slip`."""
    made = OutputOperation(name, takes, tuple(WORDINGS["output"][name]), right.apply, right.codes, returns)
    return made if slip is None else replace(made, slip=replace(made, apply=slip.apply, codes=slip.codes))
