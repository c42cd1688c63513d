"""What a language-model teacher is shown, and how its structured answers are read.

A prompt is a Jinja template in `synth/prompts/`, whose blocks `system` (optional) and `user` become messages. An answer
is the data in its last complete fenced block, read strictly. A model that is asked again sees the error: what was found
and what was expected.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reward.extract import fenced_blocks
from xcoder_core.models.prompt import Message
from xcoder_core.models.reasoning import after_reasoning
from xcoder_core.rows import JsonError, read_json
from xcoder_core.yaml_source import read_yaml

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).with_suffix("")

ROLES = ("system", "user")


def render(name: str, **fields: object) -> list[Message]:
    """The messages of the template `name` (without `.j2`). Raises jinja2's `UndefinedError` for a missing field."""
    template = _environment().get_template(f"{name}.j2")
    context = template.new_context(fields)
    return [
        {"role": role, "content": "".join(template.blocks[role](context)).strip()}
        for role in ROLES
        if role in template.blocks
    ]


def retry_messages(messages: list[Message], answer: str, error: str) -> list[Message]:
    """The conversation that asks once more, after an answer that could not be read: the answer and what is wrong."""
    shown = (after_reasoning(answer) or "").strip() or "(There is no answer.)"  # servers refuse an empty message
    return [*messages, {"role": "assistant", "content": shown}, *render("retry", error=error)]


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


JSON_TAGS = {"json", ""}
YAML_TAGS = {"yaml", "yml"}

_SHOWN_CHARACTERS = 60


class AnswerError(ValueError):
    """An answer that does not have the format that was asked for; the message can be shown to the model."""


def read_answer(text: str) -> object:
    """The value of an answer's last complete fenced block, JSON or YAML by its tag. Raises `AnswerError` without it."""
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


def read_object(text: str, keys: tuple[str, ...]) -> dict[str, object]:
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


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number")
