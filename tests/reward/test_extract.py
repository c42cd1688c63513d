"""The program in a model's answer."""

import random
import re

import pytest
from markdown_it import MarkdownIt

from reward.extract import extract_code, fenced_blocks
from xcoder_core.models.reasoning import PAIRS


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("text\n```py\nprint(1)\n```\nmore text with ``` in it", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```Python3\nprint(1)\n```", "print(1)\n"),
        ("```python\nfirst\n```\nbetter:\n```python\nsecond\n```", "second\n"),
        ("```python\nanswer\n```\nOutput:\n```text\n42\n```", "answer\n"),
        ("<think>\n```python\ndraft\n```\n</think>\n```python\nfinal\n```", "final\n"),
        ("reasoning ```python\n</think>\n```python\nfinal\n```", "final\n"),
        ("```python\r\na = 1\r\nprint(a)\r\n```\r\n", "a = 1\nprint(a)\n"),
        ("1. do\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n"),
        ("~~~python\nprint(1)\n~~~", "print(1)\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("```python\nprint(1)\n``` done", "print(1)\n"),
        ("```python title=x.py\nprint(1)\n```", "print(1)\n"),
    ],
)
def test_the_last_complete_block_is_the_program(completion: str, code: str) -> None:
    assert extract_code(completion) == code


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "print(1)",
        "```python\nprint(1)\n",
        "```python\ndraft\n```\nbetter:\n```python\ncut sho",
        "<think>\n```python\ndraft\n```\nhmm",
        "<think>\n```python\ndraft\n```\n</think>\nNo code.",
        "```cpp\nint main() {}\n```",
        "inline `print(1)` and ```print(1)``` only",
    ],
)
def test_no_complete_block_is_no_program(completion: str) -> None:
    assert extract_code(completion) is None


@pytest.mark.parametrize(
    "tag",
    [
        "Python",
        "py",
        "python3.11",
        "{python}",
        "{.python .numbers}",
        "python title=x.py",
        "python:a.py",
        "py3",
        "language-python",
        "Python 3",
    ],
)
def test_whatever_says_python_is_python(tag: str) -> None:
    assert extract_code(f"```text\n1\n```\n```{tag}\nprint(1)\n```") == "print(1)\n"


@pytest.mark.parametrize("tag", ["pycon", "cpp", "text", "pyx", "output", "json"])
def test_other_languages_are_no_program(tag: str) -> None:
    assert extract_code(f"```{tag}\nprint(1)\n```") is None


@pytest.mark.parametrize(
    "completion",
    [
        "- ```python\n  print(1)\n  ```",
        "1. ```python\n   print(1)\n   ```\n2. It prints.",
        "> ```python\n> print(1)\n> ```\nIt prints.",
        "* > 1. ```py\n  >    print(1)\n  >    ```",
        "- first\n\n  ```python\n  print(1)\n  ```\n- second",
        "<answer>```python\nprint(1)\n```</answer>",
        "<answer>\n```python\nprint(1)\n```\n</answer>",
        "<div>\n```python\nprint(1)\n```\n</div>",
        "```python\nprint(1)\n```<|im_end|>",
        "```python\nprint(1)\n```</s>",
        "```python\nprint(1)\n```<｜end▁of▁sentence｜>",
        "```python\nprint(1)\n```[/INST]",
        "<think>\nso\n</think>```python\nprint(1)\n```",
        "```python\nprint(1)\n```\n```",
        "```python\nprint(1)\n```\n```python\n\n```",
        "```python\nprint(1)\n```\nOutput:\n```\n1\n```",
        "```python\nprint(1)\n```\n\n~~~\n",
    ],
)
def test_the_program_is_found_wherever_its_block_stands_and_whatever_is_glued_to_it(completion: str) -> None:
    assert extract_code(completion) == "print(1)\n"


def test_a_fence_that_is_indented_by_four_spaces_closes_no_block() -> None:
    program = 'def f():\n    """Example:\n\n    ```\n    f()\n    ```\n    """\n    return 1\n'
    assert extract_code(f"```python\n{program}```\n") == program


@pytest.mark.parametrize("mark", PAIRS)
def test_a_draft_in_reasoning_that_was_never_closed_is_no_answer(mark: str) -> None:
    draft = f"{mark}\nmaybe\n```python\nprint(1)\n```\n"
    answered = f"{draft}{PAIRS[mark]}\n```python\nprint(2)\n```"
    assert extract_code(draft) is None
    assert extract_code(answered) == "print(2)\n"
    assert extract_code(f"{answered}\n{draft}") is None  # reasoning that was taken up again
    assert extract_code(f"Sure. {draft}") is None
    assert extract_code(f"{answered}\nThe marks {mark} are gone.") == "print(2)\n"


def test_blocks_are_those_of_commonmark() -> None:
    """markdown-it's own rules, on documents put together at random from the pieces that matter."""
    pieces = [
        "```",
        "~~~",
        "````",
        "```python",
        "  ```",
        "    ```",
        "- ",
        "1. ",
        "> ",
        "text",
        "",
        "    code",
        "---",
        "# h",
        "  - x",
        "\t```",
    ]
    dice, compared = random.Random(1), 0
    standard = MarkdownIt("commonmark").disable(["html_block", "reference", "lheading"])
    for _ in range(3000):
        lines = ["".join(dice.choices(pieces, k=dice.choice([1, 1, 2, 3]))) for _ in range(dice.randint(1, 9))]
        document = "\n".join(lines) + "\n"
        if re.search(r"(```|~~~)(?!(python)?$)[^\n]*$", document.replace("````", "```"), re.MULTILINE):
            continue  # text after a fence: there the rules differ on purpose
        expected = [token.content for token in standard.parse(document) if token.type == "fence"]
        blocks = fenced_blocks(document)
        if blocks is not None:
            compared += 1
            assert [text.strip() for _, text in blocks] == [text.strip() for text in expected][: len(blocks)], document
    assert compared > 500


@pytest.mark.parametrize(
    "hostile",
    [
        "`" * 200_000 + "x`",
        "> " * 100_000,
        "- " * 50_000,
        "<a>" * 60_000 + "`",
        "[THINK" * 30_000,
        "\n".join(">" * depth for depth in range(400)),
    ],
    ids=["fences", "quotations", "lists", "tags", "marks", "deeper"],
)
def test_hostile_text_holds_nobody_up(hostile: str) -> None:
    """Each is read in well under a second (`python -m benchmarks.answers`); in quadratic time it would take hours."""
    assert extract_code(f"{hostile}\n\n```python\nprint(1)\n```") == "print(1)\n"
