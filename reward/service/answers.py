"""What every endpoint answers when it cannot answer: one JSON form, `{"detail": …}`, with the status that fits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError

from reward.service.queueing import RETRY_AFTER
from xcoder_core.errors import InfrastructureError

MOST_ERRORS = 20
"""Wrong fields that one answer names."""
LONGEST_TEXT = 300
"""Characters of a name or message that one answer repeats."""


def wrong_field(field: Sequence[str | int], message: str) -> HTTPException:
    """The refusal of a request in which a field of the right type has a wrong value."""
    return HTTPException(422, [{"type": "value_error", "loc": ["body", *field], "msg": _cut(message)}])


def check_limit(asked: float, most: float, unit: str, field: Sequence[str | int]) -> None:
    """Raise `HTTPException` where a request asks for more than the service gives."""
    if asked > most:
        raise wrong_field(field, f"at most {most:g} {unit} are given here")


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII only: a client's text can hold half of a surrogate pair, which has no UTF-8 form.

    `content` may be, or hold, dataclasses.
    """
    return Response(json.dumps(content, default=asdict), status, dict(headers or {}), media_type="application/json")


def refusal(error: Exception) -> Response:
    """The answer to a request that is not carried out. Raises any other error again."""
    match error:
        case HTTPException():
            return json_answer({"detail": error.detail}, error.status_code, error.headers)
        case InfrastructureError():
            return json_answer({"detail": str(error)}, 503, RETRY_AFTER)
        case RequestValidationError():
            # Without the value itself, which may be as large as the request.
            errors = [
                {"type": each["type"], "loc": [*map(_cut, each["loc"])], "msg": _cut(each["msg"])}
                for each in error.errors()[:MOST_ERRORS]
            ]
            return json_answer({"detail": errors}, 422)
    raise error


def _cut(part: str | int) -> str | int:
    """A part of a place, or a message that repeats one, without most of a length that may be the request's."""
    return part if isinstance(part, int) or len(part) <= LONGEST_TEXT else part[:LONGEST_TEXT] + " …"


def add_refusals(app: FastAPI) -> None:
    """Let `app` answer these errors wherever an endpoint raises them."""

    async def handle(_: Request, error: Exception) -> Response:
        return refusal(error)

    for kind in (HTTPException, InfrastructureError, RequestValidationError):
        app.add_exception_handler(kind, handle)
