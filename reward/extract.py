"""The program in a model's answer: the last fenced block of Python after the reasoning (docs/answers.md has the rules).

Blocks are found as CommonMark has them, by markdown-it: a fence may stand in a list or a quotation, and closes a block
only where it is indented by at most three spaces. What is added is text that models glue to fences.
"""

import ast
import re
import warnings
from functools import cache
from typing import TYPE_CHECKING

from xcoder_core.models.reasoning import after_reasoning

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock

# Nothing is given back (`+`), so a hostile line is read once. Tags such as `<answer>` may stand before the fence.
_OPENING = re.compile(r"(?:<[^<>\n]{1,64}+>[ \t]*+)*+(`{3,}+|~{3,}+)([^\n]*+)")
_TAG = re.compile(r"[\s{.]*+(?:lang(?:uage)?-)?([\w+#.-]*)")
_PYTHON = re.compile(r"(?:i?python|c?python|pypy|py)[-_]?[\d.]*")
_HAS_FENCE = re.compile(r"```|~~~")


def extract_code(completion: str) -> str | None:
    """The program of an answer, or None where there is none.

    It is the last block that is tagged as Python, or where none is, the last one without a tag; blank blocks count for
    nothing. An answer that was cut short, in its reasoning or within a block, has no program: a draft is no answer.
    """
    programs = [(tag, text) for tag, text in fenced_blocks(completion) or [] if is_python(tag) and text.strip()]
    tagged = [text for tag, text in programs if tag]
    return next(reversed(tagged or [text for _, text in programs]), None)


def fenced_blocks(completion: str) -> list[tuple[str, str]] | None:
    """Each complete block after the reasoning, with its tag in lower case; None for an answer that was cut short."""
    answer = after_reasoning(completion)
    if answer is None:
        return None
    tokens = _parser().parse(re.sub(r"\r\n?", "\n", answer) + "\n") if _HAS_FENCE.search(answer) else []
    blocks = [token for token in tokens if token.type == "fence"]
    if any(not block.meta["is_closed"] and block.content.strip() for block in blocks):
        return None
    return [(_tag(block.info), block.content or "\n") for block in blocks if block.meta["is_closed"]]


def is_python(tag: str) -> bool:
    """Whether a block with this tag, in lower case, may be a Python program: it says so, or says nothing."""
    return not tag or _PYTHON.fullmatch(tag) is not None


def parses(code: str) -> bool:
    """Whether a text is a Python program."""
    return syntax_tree(code) is not None


def syntax_tree(code: str) -> ast.Module | None:
    """The tree of a Python program, or None for any other text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tag(info: str) -> str:
    found = _TAG.match(info)
    word = found[1] if found else ""
    return (word or info.strip().partition(" ")[0]).lower()


@cache
def _parser() -> "MarkdownIt":
    """CommonMark without what lies within a paragraph, and without HTML: a tag such as `<answer>` hides no block."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable(["html_block", "reference", "lheading"])
    parser.core.ruler.enableOnly(["block"])  # not the one that replaces a NUL, which is the program's
    parser.block.ruler.at("fence", _fence, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _fence(state: "StateBlock", start: int, end: int, silent: bool) -> bool:
    """markdown-it's rule of fenced blocks, with text glued to the fences, and a note of whether a block was closed."""
    opening = _OPENING.fullmatch(state.src, state.bMarks[start] + state.tShift[start], state.eMarks[start])
    if opening is None or state.is_code_block(start) or (opening[1][0] == "`" and "`" in opening[2]):
        return False
    if silent:
        return True
    line, is_closed = start + 1, False
    while line < end and not is_closed:
        begin, stop = state.bMarks[line] + state.tShift[line], state.eMarks[line]
        if begin < stop and state.sCount[line] < state.blkIndent:
            break  # the list or quotation that the block stands in is over
        is_closed = state.sCount[line] - state.blkIndent < 4 and _closes(state.src[begin:stop], opening[1])
        line += 1
    token = state.push("fence", "code", 0)
    token.info, token.meta = opening[2], {"is_closed": is_closed}
    token.content = state.getLines(start + 1, line - is_closed, state.sCount[start], True)
    state.line = line
    return True


def _closes(line: str, fence: str) -> bool:
    """Whether a line closes a block: a fence of at least the same length, before nothing that could be a tag."""
    rest = line.lstrip(fence[0])
    return len(line) - len(rest) >= len(fence) and not re.match(r"[\w{.`~]", rest)
