"""What an operation is: one step of a task, with its truth, its wordings and its code in three styles.

Codes are templates: `{v}` is the variable that holds the values and is overwritten, `{c}` the parameter.
The three code styles are, in order: comprehension, loop, functional.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

Values = Literal["numbers", "words"]
Parameter = Literal["amount", "divisor", "count", "length", "prefix", "letter"]
Codes = tuple[str, str, str]

CODE_STYLES = ("comprehension", "loop", "functional")


@dataclass(frozen=True)
class Operation:
    """One step that turns values into values.

    `apply` is the truth: it takes the list and the parameter and returns a new list. `slip` is the operation that a
    careless programmer writes instead.
    """

    name: str
    group: str
    takes: Values
    gives: Values
    phrasings: tuple[str, ...]
    apply: Callable[[list[Any], Any], list[Any]]
    codes: Codes
    parameter: Parameter | None = None
    slip: "Operation | None" = None

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        kind = "list" if self.takes == "numbers" else "word"
        return f"{kind} operation/{self.group}/{self.name}"


@dataclass(frozen=True)
class OutputOperation:
    """The last step: it turns values into the answer.

    `phrasings` name the answer ("the sum"), so that every statement style can put its own verb before them. `codes`
    are, per style, the lines that go before and the expression of the answer; `returns` is the answer's type, and a
    list is printed with spaces between its elements.
    """

    name: str
    takes: Values
    phrasings: tuple[str, ...]
    apply: Callable[[list[Any]], Any]
    codes: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    returns: Literal["int", "str", "list[int]", "list[str]"]
    slip: "OutputOperation | None" = None

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        return f"output/{self.takes}/{self.name}"


Step = TypeVar("Step", Operation, OutputOperation)


def operation(
    name: str,
    group: str,
    phrasings: tuple[str, ...],
    apply: Callable[[list[Any], Any], list[Any]],
    codes: Codes,
    parameter: Parameter | None = None,
    *,
    takes: Values = "numbers",
    gives: Values = "numbers",
    slip: tuple[Any, Any] | None = None,
) -> Operation:
    """An operation; with `slip`, which is an `apply` and its codes, the slip is otherwise alike."""
    return with_slip(Operation(name, group, takes, gives, phrasings, apply, codes, parameter), slip)


def with_slip(right: Step, slip: tuple[Any, Any] | None) -> Step:
    """The operation with a slip that computes `slip[0]` by the codes `slip[1]` and is otherwise alike."""
    return right if slip is None else replace(right, slip=replace(right, apply=slip[0], codes=slip[1]))


def keep_codes(condition: str) -> Codes:
    """Codes that keep the elements `x` for which `condition` holds."""
    return (
        f"{{v}} = [x for x in {{v}} if {condition}]",
        f"res = []\nfor x in {{v}}:\n    if {condition}:\n        res.append(x)\n{{v}} = res",
        f"{{v}} = list(filter(lambda x: {condition}, {{v}}))",
    )


def replace_codes(expression: str) -> Codes:
    """Codes that replace every element `x` by `expression`."""
    return (
        f"{{v}} = [{expression} for x in {{v}}]",
        f"res = []\nfor x in {{v}}:\n    res.append({expression})\n{{v}} = res",
        f"{{v}} = list(map(lambda x: {expression}, {{v}}))",
    )
