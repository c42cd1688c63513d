"""When two names mean one feature: the normal form of a feature's name.

Case, plural, hyphens, possessives, filler words and abbreviations make no difference to it ("Dijkstra's Algorithm",
"dijkstra"; "BFS", "breadth-first search"). It is compared and never shown. `names.toml` has the words.
"""

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path

_MEANINGS = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))

_SPACING = re.compile(r"[\s\-_‐-―]+")
_POSSESSIVE = re.compile(r"['’]s\b|(?<=s)['’](?=\s|$)")
_FORMULA = re.compile(r"o\((?:[^()]|\([^()]*\))*\)")
# A run counts from its first mark alone, so that a long one is not tried from every mark of it.
_PUNCTUATION = re.compile(r"(?<![\"'`’.,;:?])[\"'`’.,;:?]+(?=\s|$)|(?<!\S)[\"'`’]+")


@lru_cache(maxsize=1 << 18)
def normal_form(name: str) -> str:
    """The name reduced to what it means; empty for a name without content."""
    text = name.replace("²", "^2").replace("³", "^3")  # which the next line would make plain digits
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    formulas = [_squeezed(formula) for formula in _FORMULA.findall(text)]
    text = _FORMULA.sub(" \0 ", text)
    text = _PUNCTUATION.sub(" ", _POSSESSIVE.sub("", text).replace("∕", "/"))
    words = [_singular(word) for word in _SPACING.sub(" ", text).split()]
    words = " ".join(_MEANINGS["abbreviations"].get(word, word) for word in words).split()
    while len(words) > 1 and words[-1] in _MEANINGS["fillers"]:
        words.pop()
    plain = " ".join(words)
    plain = _MEANINGS["synonyms"].get(plain, plain)
    for formula in formulas:
        plain = plain.replace("\0", formula, 1)
    return plain


def clean_name(name: str) -> str:
    """A name as it is shown: one space between words, and a slash that cannot be taken for one between two names."""
    return " ".join(unicodedata.normalize("NFC", name).replace("/", "∕").split())


def _singular(word: str) -> str:
    if word in _MEANINGS["singulars"]:
        return _MEANINGS["singulars"][word]
    if len(word) <= 3 or word in _MEANINGS["not_plural"] or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "os")):
        return word[:-1]
    return word


def _squeezed(formula: str) -> str:
    """A complexity with one way of writing: `O(N * log N)`, `O(n log(n))` and `O(n log n)` are one."""
    inner = formula[2:-1].replace("**", "^").replace("√", "sqrt ")
    inner = re.sub(r"(log|sqrt)\s*\(\s*(\w+)\s*\)", r"\1 \2", inner)
    inner = re.sub(r"[\s*·×]+", " ", inner)
    inner = re.sub(r"\s*([-+/∕^()])\s*", r"\1", inner).strip()
    return f"o({inner})"
