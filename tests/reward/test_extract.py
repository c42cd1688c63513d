"""The program in a model's answer."""

import time

import pytest

from reward.extract import extract_code


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
        ("```python\n```", "\n"),
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


@pytest.mark.parametrize("line", ["~" * 20_000 + "`", "~~~" + " " * 200_000 + "`", "`" * 200_000 + "x`"])
def test_a_line_that_is_nearly_a_fence_holds_nobody_up(line: str) -> None:
    began = time.process_time()
    assert extract_code(f"{line}\n```python\nprint(1)\n```") == "print(1)\n"
    assert time.process_time() - began < 2
