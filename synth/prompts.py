"""The prompts of a language-model teacher: Jinja templates in `synth/prompts/`, each with a header that describes it.

A template holds a block `user` and may hold a block `system`; each becomes one message.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoder_core.models.prompt import Message
from xcoder_core.models.reasoning import after_reasoning

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).with_suffix("")

ROLES = ("system", "user")


def render(name: str, **fields: Any) -> list[Message]:
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
