"""Gathers commands, links and named files from the Markdown pages and from the headers of recipes.

What counts as a command, so that none is left out silently:

- every line of a ```bash block; a line that ends with a backslash or within quotes goes on in the next one;
- every `code span` that begins with one of `PROGRAMS` and has more words;
- in the header of a recipe, what follows `Command:` and `Override:`, and code spans as above.

A command elsewhere (an indented block, a ```text block, plain prose) is a mistake, told with its place and how to mend
it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]

PROGRAMS = (
    *("xcoder", "python", "pytest", "make", "git", "pip", "accelerate", "torchrun", "hf", "ray", "vllm"),
    *("curl", "openssl", "perf", "docker", "sbatch", "echo", "export", "bash", "."),
)
_IS_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ +)*(?:{'|'.join(map(re.escape, PROGRAMS))}) +\S")
_IN_PROSE = re.compile(r"\bxcoder [a-z]+\b|\bpython -m \w|\bpip install\b|\baccelerate launch\b|\bhf download\b")
_NO_COMMANDS = ("text", "yaml", "json", "python", "cpp", "toml")
_FILE = re.compile(
    r"(?:tests|docs|recipes|benchmarks|xcoder_core|xcoder_train|reward|synth|evaluation)/[\w./-]+\.(?:py|md|yaml|j2)"
)
_LABEL = re.compile(r"#\s*(?:Command|Override): +(.*)")


@dataclass(frozen=True)
class Found:
    """A text and where it stands."""

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """As editors understand it."""
        return f"{self.page}:{self.line}"


@dataclass
class Gathered:
    """All of it, in the order of pages and lines."""

    commands: list[Found] = field(default_factory=list)
    links: list[Found] = field(default_factory=list)
    files: list[Found] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


@cache
def gather_project() -> Gathered:
    """Of every page and recipe of the project."""
    pages = [
        *ROOT.glob("*.md"),
        *(page for name in ("docs", "recipes", "benchmarks") for page in (ROOT / name).rglob("*.md")),
    ]
    found = Gathered()
    for page in sorted(pages):
        gather_page(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"), found)
    for recipe in sorted((ROOT / "recipes").rglob("*.yaml")):
        gather_header(str(recipe.relative_to(ROOT)), recipe.read_text(encoding="utf-8"), found)
    return found


def gather_page(page: str, text: str, found: Gathered) -> None:
    """Add what a Markdown page holds."""
    line = 0
    for token in _parser().parse(text):
        line = token.map[0] + 1 if token.map else line
        if token.type == "code_block":
            found.mistakes.append(
                f"{page}:{line}: an indented block; fence it, as ```bash with commands or ```text with output"
            )
        elif token.type == "fence":
            _gather_fence(page, line, token, found)
        elif token.type == "inline":
            _gather_inline(page, line, token, found)


def gather_header(recipe: str, text: str, found: Gathered) -> None:
    """Add what the comment at the top of a recipe, or of a configuration of accelerate, holds."""
    header: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#"):
            break
        header.append((number, line))
    prose: list[tuple[int, str]] = []
    labelled: list[tuple[int, str]] = []
    goes_on = False
    for number, line in header:
        label = _LABEL.match(line)
        if label or goes_on:
            labelled.append((number, label[1] if label else line.lstrip("# ")))
            goes_on = line.endswith("\\")
        else:
            prose.append((number, line.lstrip("# ")))
    for command in _commands(recipe, labelled):
        if _IS_COMMAND.match(command.text):
            found.commands.append(command)
        else:
            found.mistakes.append(f"{command.place}: `{command.text}` after its label is no command; write a whole one")
    # Comments are Markdown in small: code spans may go on in the next line.
    gather_page(recipe, "\n" * (header[0][0] - 1) + "\n".join(_lines_in_place(header, prose)), found)


def _lines_in_place(header: list[tuple[int, str]], prose: list[tuple[int, str]]) -> Iterator[str]:
    """The prose, with something harmless in the lines of labelled commands."""
    kept = dict(prose)
    for number, _ in header:
        yield kept.get(number, "–") or "–"


def _gather_fence(page: str, line: int, token: Token, found: Gathered) -> None:
    language = token.info.strip()
    lines = list(enumerate(token.content.splitlines(), line + 1))
    if language == "bash":
        found.commands += _commands(page, lines)
        return
    if language not in _NO_COMMANDS:
        found.mistakes.append(
            f"{page}:{line}: a block of ```{language}; write ```bash where it holds commands, else one of "
            f"{', '.join(_NO_COMMANDS)}"
        )
    elif language == "text":
        for number, text in lines:
            if _IS_COMMAND.match(text.lstrip("$ ")):
                found.mistakes.append(f"{page}:{number}: a command in a ```text block; put it into a ```bash block")


def _gather_inline(page: str, line: int, token: Token, found: Gathered) -> None:
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "code_inline":
            text = " ".join(child.content.split())
            if _IS_COMMAND.match(text):
                found.commands.append(Found(page, line, text))
            elif _FILE.fullmatch(text):
                found.files.append(Found(page, line, text))
        elif child.type in ("link_open", "image"):
            target = child.attrGet("href" if child.type == "link_open" else "src")
            found.links.append(Found(page, line, str(target)))
        elif child.type == "text" and (named := _IN_PROSE.search(child.content)):
            found.mistakes.append(f"{page}:{line}: `{named[0]}` stands in prose; put the command into backticks")


def _commands(page: str, lines: list[tuple[int, str]]) -> Iterator[Found]:
    """The whole commands of some lines, without comments."""
    begun: list[str] = []
    start = 0
    for number, line in lines:
        start = start if begun else number
        begun.append(line)
        text = "\n".join(begun)
        if line.endswith("\\") or not _is_closed(text):
            continue
        begun = []
        text = _without_comment(text.replace("\\\n", " "))
        if text:
            yield Found(page, start, text)
    if begun:
        yield Found(page, start, "\n".join(begun).strip())


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _without_comment(text: str) -> str:
    """What precedes a `#` that begins a word outside quotes."""
    for found in re.finditer(r"(?:^|\s)#", text):
        if _is_closed(text[: found.start()]):
            return text[: found.start()].strip()
    return text.strip()


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def dead_link(link: Found) -> str | None:
    """What is wrong with a link to a page, a file or a heading of the project; None where nothing is."""
    if re.match(r"[a-z]+:", link.text):
        return None
    path, _, anchor = link.text.partition("#")
    target = ROOT / Path(link.page).parent / path if path else ROOT / link.page
    if not target.exists():
        return f"{link.place}: the link to {link.text} leads nowhere; there is no {_shown(target)}"
    if anchor and anchor not in _anchors(target):
        near = ", ".join(sorted(_anchors(target)))
        return f"{link.place}: {_shown(target)} has no heading #{anchor}; it has {near}"
    return None


def _shown(target: Path) -> str:
    resolved = target.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else str(resolved)


@cache
def _anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    tokens = _parser().parse(page.read_text(encoding="utf-8"))
    headings = [after for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]
    anchors: set[str] = set()
    for heading in headings:
        text = "".join(child.content for child in heading.children or [] if child.type in ("text", "code_inline"))
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (name := f"{anchor}-{number}" if number else anchor) in anchors:
            number += 1
        anchors.add(name)
    return anchors
