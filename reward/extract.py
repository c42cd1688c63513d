"""The program in a model's answer: the last complete fenced code block after the reasoning.

Fences follow CommonMark: three or more backticks or tildes, indented or not, closed by a line that starts with at
least as many of the same character, alone or followed by a space. A fence inside another block is part of that block.
"""

import ast
import re
import warnings

PYTHON_TAGS = {"", "python", "python3", "py", "py3", "pypy", "pypy3"}
# Nothing is given back (`+`): a line of tildes that ends with a backtick would be divided in every possible way.
OPENING = re.compile(r"^([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`{]*+)[^`]*+$")


def extract_code(completion: str) -> str | None:
    """The last complete block tagged as Python or not tagged at all, or None where there is none.

    Where the reasoning is closed by `</think>`, only what follows counts. Reasoning that was opened and never closed
    is an answer cut short: None. An unclosed last fence is one too: a draft before it is not the answer.
    """
    blocks = fenced_blocks(completion) or []
    programs = [block for tag, block in blocks if tag in PYTHON_TAGS]
    return programs[-1] if programs else None


def fenced_blocks(completion: str) -> list[tuple[str, str]] | None:
    """Each complete block after the reasoning, with its tag in lower case; None for an answer that was cut short."""
    _, closing, answer = completion.rpartition("</think>")
    if not closing and "<think>" in completion:
        return None
    blocks: list[tuple[str, str]] = []
    lines = iter(answer.replace("\r\n", "\n").split("\n"))
    for line in lines:
        opening = OPENING.match(line)
        if opening is None:
            continue
        indent, fence, tag = opening[1], opening[2], opening[3].lower()
        block: list[str] = []
        for inner in lines:
            mark = inner.strip().partition(" ")[0]
            if len(mark) >= len(fence) and mark == fence[0] * len(mark):
                break
            block.append(inner.removeprefix(indent))
        else:
            return None
        blocks.append((tag, "\n".join(block) + "\n"))
    return blocks


def parses(code: str) -> bool:
    """Whether a text is a Python program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
