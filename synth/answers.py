"""Structured answers of a language model: the data in the last complete fenced block, read strictly.

Every error message is written for the model that is asked again, so it says what was found and what was expected.
"""

from typing import Any

from reward.extract import fenced_blocks
from xcoder_core.rows import JsonError, read_json
from xcoder_core.yaml_source import read_yaml

JSON_TAGS = {"json", ""}
YAML_TAGS = {"yaml", "yml"}

_SHOWN_CHARACTERS = 60


class AnswerError(ValueError):
    """An answer that does not have the format that was asked for; the message can be shown to the model."""


def read_answer(text: str) -> Any:
    """The value of the last complete fenced block of an answer, JSON or YAML by the block's tag.

    Raises `AnswerError` for an answer that was cut short, holds no such block, or whose last block is not valid.
    """
    blocks = fenced_blocks(text)
    if blocks is None:
        raise AnswerError("the answer was cut short; expected one complete fenced block")
    if not blocks:
        raise AnswerError("there is no fenced block; expected the answer between ```json and ```")
    tag, block = blocks[-1]
    try:
        if tag in JSON_TAGS:
            return read_json(block)
        if tag in YAML_TAGS:
            return read_yaml(block, "line").plain()
    except JsonError as error:
        raise AnswerError(str(error)) from error
    except ValueError as error:  # Python reads no numbers of thousands of digits
        raise AnswerError(f"the last fenced block cannot be read: {error}") from error
    raise AnswerError(f"the last fenced block is tagged `{tag[:_SHOWN_CHARACTERS]}`; expected ```json")


def read_object(text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The answer as an object that has exactly these keys; raises `AnswerError` otherwise."""
    value = read_answer(text)
    if not isinstance(value, dict):
        raise AnswerError(f"expected an object with the keys {_listed(keys)}, found {_kind(value)}")
    missing = [key for key in keys if key not in value]
    unknown = [key for key in value if key not in keys]
    if missing or unknown:
        found = [f"{_listed(missing)} missing"] if missing else []
        found += [f"{_listed(unknown)} not expected"] if unknown else []
        raise AnswerError(f"expected an object with the keys {_listed(keys)}: {' and '.join(found)}")
    return value


def _listed(keys: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number")
