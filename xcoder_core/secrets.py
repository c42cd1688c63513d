"""Recognise secrets: a recipe, which is copied into its run, the report and W&B, may hold none, and messages, which
may end up in a log, repeat none.

This is a net for mistakes, not a proof: a secret under a harmless name and in no known form is not recognised.
"""

import os
import re

HIDDEN = "[hidden]"
_SHORTEST = 8  # of a value in the environment: a shorter one is more often a word than a secret

_NAME = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token|secret|passw(?:or)?d|credentials?|authorization)"
_NAMES_ONE = re.compile(rf"(?:^|[_-]){_NAME}$|(?:api|access|secret)[_-]?key", re.IGNORECASE)
# `_env` ends the settings that NAME a variable; the others are a tokenizer's.
_NAMES_NONE = re.compile(r"_env$|^(?:eos|bos|pad|unk|sep|cls|mask|stop|image|video|audio)_token$", re.IGNORECASE)

_FORMS = {
    "a user name or password in a URL": r"(?<=://)[^/\s@'\"]+(?=@)",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{16,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{16,}",
    "a GitHub token": r"\b(?:gh[opsur]_|github_pat_)\w{16,}",
    "a W&B key": r"\bwandb_v1_\w{16,}",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "a bearer token": r"(?<=\bBearer )\S{8,}",
}
_ANY_FORM = re.compile("|".join(_FORMS.values()))
_GIVEN = re.compile(
    rf"(?P<before>[\w-]*{_NAME}['\"]?\s*[:=]\s*['\"]?)(?![\s'\"])[^\s,'\"}}\]]+"
    rf"|(?P<named>[\w-]*(?:{_NAME})_env['\"]?\s*[:=]\s*['\"]?)(?!(?-i:[A-Z_][A-Z0-9_]*)(?:[\s,'\"}}\]]|$))[^\s,'\"}}\]]+",
    re.IGNORECASE,
)


def secret_form(text: str) -> str | None:
    """What a text holds that has the form of a secret, in words; None where nothing has."""
    return next((words for words, form in _FORMS.items() if re.search(form, text)), None)


def names_a_secret(name: str) -> bool:
    """Whether what goes by this name, in a mapping or the environment, is taken for a secret."""
    return _NAMES_ONE.search(name) is not None and _NAMES_NONE.search(name) is None


def hide_forms(text: str) -> str:
    """The text with everything hidden that has the form of a secret, or is one of the environment's by its name."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and names_a_secret(name):
            text = text.replace(value, HIDDEN)
    return _ANY_FORM.sub(HIDDEN, text)


def hide_given(text: str) -> str:
    """What was typed on a command line, with what has the form of a secret or is given to the name of one hidden."""
    return hide_forms(_GIVEN.sub(lambda found: (found["before"] or found["named"]) + HIDDEN, text))
