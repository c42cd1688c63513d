"""YAML 1.2 in which every value remembers the file and line that it stands in.

Scalars have the meaning of the 1.2 core schema: `1e-5` is a number, `off`, `no` and `2026-01-01` are strings.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcoder_core.errors import InputError
from xcoder_core.files import whole_characters
from xcoder_core.secrets import hide_given

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

Part = str | int

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")
_MOST_VALUES = 100_000
_DEEPEST = 50
# Those of the core schema, and what the parser below takes dates, `<<` and `=` for; here they are text.
_TAGS = {"str", "null", "bool", "int", "float", "seq", "map", "timestamp", "merge", "value"}


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and line, or an override (no line)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Flaw:
    """Something wrong in a document that can be read past it."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Located:
    """A value and its place. `value` is a scalar, a dict of str to Located, or a list of Located.

    For an entry of a mapping, `place` is that of the key.
    """

    value: Any
    place: Place

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def nearest(self, path: tuple[Part, ...]) -> "Located":
        """The value at `path`, or the innermost one above it that was written down."""
        here = self
        for part in path:
            if isinstance(here.value, dict) and part in here.value:
                here = here.value[str(part)]
            elif isinstance(here.value, list) and isinstance(part, int) and part < len(here.value):
                here = here.value[part]
            else:
                return here
        return here


def located(value: object, place: Place) -> Located:
    """Plain values as a tree whose places are all `place`, but for values that have one already."""
    if isinstance(value, Located):
        return value
    if isinstance(value, Mapping):
        return Located({key: located(item, place) for key, item in value.items()}, place)
    if isinstance(value, list | tuple):
        return Located([located(item, place) for item in value], place)
    return Located(value, place)


def read_yaml(text: str, source: str, lines: bool = True, flaws: list[Flaw] | None = None) -> Located:
    """Parse one document. Raises InputError with file and line for anything that is not YAML 1.2 data.

    Without `lines`, places name the source alone, as suits text that is not a file. Where `flaws` is given, repeated
    keys and the like are added to it, and the rest is read on.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        documents = list(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1 if lines and mark is not None else None)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{place}: not valid YAML: {said}") from error
    except YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{source}: nested too deeply; at most {_DEEPEST} levels can be read") from error
    if len(documents) > 1:
        raise InputError(f"{Place(source, documents[1].start_mark.line + 1)}: expected one YAML document, found more")
    if not documents or documents[0] is None:
        return Located(None, Place(source, 1 if lines else None))
    builder = _Builder(source, lines)
    built = builder.build(documents[0], ())
    if flaws is not None:
        flaws += builder.flaws
    elif builder.flaws:
        raise InputError("\n".join(map(str, builder.flaws)))
    return built


def read_yaml_file(path: Path, flaws: list[Flaw] | None = None) -> Located:
    """Parse a file; one that is missing or not text is an InputError. `flaws` as in `read_yaml`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read: {reason}{_meant(path)}") from error
    return read_yaml(text, str(path), flaws=flaws)


def _meant(path: Path) -> str:
    """The file of the same folder whose name is nearest, where one is near."""
    near = get_close_matches(path.name, sorted(other.name for other in path.parent.glob("*.yaml")), 1)
    return f"; did you mean {path.parent / near[0]}?" if near and not path.exists() else ""


def merge(below: Located, above: Located) -> Located:
    """`above` laid over `below`: mappings merge key by key, null removes a key, anything else replaces."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, item in above.value.items():
        if key in merged and item.value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], item) if key in merged else item
    return Located(merged, above.place)


def read_override(text: str) -> Located:
    """`key.path=value`, the value in YAML, as a tree that holds nothing else."""
    keys, equals, written = text.partition("=")
    path, source = keys.split("."), f"override '{hide_given(text)}'"
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in path):
        raise InputError(f"{source}: expected key.path=value, such as sft.training.learning_rate=1e-5")
    if not written.strip():
        raise InputError(f"{source}: there is no value; to take the setting away, write {keys}=null")
    tree = read_yaml(written, source, lines=False)
    for part in reversed(path):
        tree = Located({part: tree}, Place(source))
    return tree


def entries(root: Located, prefix: tuple[Part, ...] = ()) -> Iterator[tuple[tuple[Part, ...], Located]]:
    """Every value in the tree with its path, outermost first."""
    yield prefix, root
    if isinstance(root.value, dict):
        for key, item in root.value.items():
            yield from entries(item, (*prefix, key))
    elif isinstance(root.value, list):
        for index, item in enumerate(root.value):
            yield from entries(item, (*prefix, index))


class _Builder:
    """Turns ruamel's node graph into a tree; aliases are expanded, within bounds."""

    def __init__(self, source: str, lines: bool) -> None:
        self.source = source
        self.lines = lines
        self.values = 0
        self.flaws: list[Flaw] = []

    def build(self, node: "Node", above: tuple[int, ...], key: "Node | None" = None) -> Located:
        from ruamel.yaml.nodes import MappingNode, ScalarNode

        place = self._place(key or node)
        self.values += 1
        if id(node) in above:
            raise InputError(f"{place}: an alias contains itself")
        if self.values > _MOST_VALUES:
            raise InputError(f"{place}: more than {_MOST_VALUES} values after aliases are expanded")
        if len(above) >= _DEEPEST:
            raise InputError(f"{place}: nested too deeply; at most {_DEEPEST} levels can be read")
        above = (*above, id(node))
        tag = str(node.tag)
        if tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self.flaws.append(Flaw(place, f"the tag {shown} has no meaning in a recipe"))
        if isinstance(node, MappingNode):
            return Located(self._mapping(node, above), place)
        if isinstance(node, ScalarNode):
            return Located(self._scalar(node, place), place)
        return Located([self.build(item, above) for item in node.value], place)

    def _place(self, node: "Node") -> Place:
        return Place(self.source, node.start_mark.line + 1 if self.lines else None)

    def _mapping(self, node: "MappingNode", above: tuple[int, ...]) -> dict[str, Located]:
        from ruamel.yaml.nodes import ScalarNode

        built: dict[str, Located] = {}
        for key, item in node.value:
            place = self._place(key)
            if not isinstance(key, ScalarNode):
                self.flaws.append(Flaw(place, "expected a name as key, found a list or mapping"))
                continue
            if key.value in built:
                first = built[key.value].place
                self.flaws.append(Flaw(place, f"duplicate key `{key.value}`, first given at {first}"))
                continue
            built[key.value] = self.build(item, above, key)
        return built

    def _scalar(self, node: "ScalarNode", place: Place) -> str | bool | float | None:
        text = node.value
        if whole_characters(text) != text:
            self.flaws.append(Flaw(place, "half of a surrogate pair is no text"))
            return None
        if str(node.tag).endswith(":str") or node.style in ("'", '"', "|", ">"):
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if match := _INFINITY.fullmatch(text):
            return float(f"{match[1]}inf")
        return float("nan") if _NAN.fullmatch(text) else text
