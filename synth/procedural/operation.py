"""What an operation is: one step of a task, with its truth, its wordings and its code in three styles.

Codes are templates: `{v}` is the variable that holds the values and is overwritten, `{c}` the parameter.
The three code styles are, in order: comprehension, loop, functional. `wordings.toml` has the wordings.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

Kind = Literal["numbers", "words"]
Values = list[int] | list[str]
Answer = int | str | Values
Parameter = Literal["amount", "divisor", "count", "length", "prefix", "letter"]
Code = TypeVar("Code", str, tuple[str, str])

CODE_STYLES = ("comprehension", "loop", "functional")

WORDINGS = tomllib.loads(Path(__file__).with_name("wordings.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Way(Generic[Code]):
    """One way to do an operation: `apply` computes it, `codes` are programs that do, in the three styles."""

    apply: Callable[..., Any]
    codes: tuple[Code, Code, Code]


@dataclass(frozen=True)
class Operation:
    """One step that turns values into values.

    `right.apply` is the truth: it takes the list and the parameter and returns a new list. `slip` is the way in which
    a careless programmer does it.
    """

    group: str
    name: str
    right: Way[str]
    slip: Way[str] | None
    parameter: Parameter | None = None
    takes: Kind = "numbers"
    gives: Kind = "numbers"

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        kind = "list" if self.takes == "numbers" else "word"
        return f"{kind} operation/{self.group}/{self.name}"

    @property
    def phrasings(self) -> tuple[str, ...]:
        """Sentences of a statement that ask for it."""
        return tuple(WORDINGS[self.takes][self.name])

    @property
    def slipped(self) -> "Operation | None":
        """The operation that a careless programmer writes instead."""
        return None if self.slip is None else replace(self, right=self.slip, slip=None)


@dataclass(frozen=True)
class OutputOperation:
    """The last step: it turns values into the answer.

    Its codes are the lines that go before and the expression of the answer; `returns` is the answer's type, and a list
    is printed with spaces between its elements.
    """

    name: str
    right: Way[tuple[str, str]]
    slip: Way[tuple[str, str]] | None = None
    takes: Kind = "numbers"
    returns: Literal["int", "str", "list[int]", "list[str]"] = "int"

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        return f"output/{self.takes}/{self.name}"

    @property
    def phrasings(self) -> tuple[str, ...]:
        """Names of the answer ("the sum"), before which every statement style can put its own verb."""
        return tuple(WORDINGS["output"][self.name])

    @property
    def slipped(self) -> "OutputOperation | None":
        """The operation that a careless programmer writes instead."""
        return None if self.slip is None else replace(self, right=self.slip, slip=None)
