"""Tables: folded to a terminal, whole where nobody watches."""

import os
import pty
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PROGRAM = """
from rich.table import Table
from xcoder_core.terminal import table_console
table = Table("what became of them", *[f"split number {number}" for number in range(6)])
table.add_row("tasks dropped: solved by only one", *["12,345"] * 6)
table_console().print(table)
"""


def run(stdout: int) -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": str(PROJECT), "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=stdout, env=environment, check=True)
    return done.stdout or b""


def test_a_table_in_a_pipe_keeps_each_row_on_one_line() -> None:
    text = run(subprocess.PIPE).decode()
    assert "\x1b" not in text
    assert any("tasks dropped: solved by only one" in line and line.count("12,345") == 6 for line in text.splitlines())


def test_a_table_on_a_terminal_is_as_wide_as_the_terminal() -> None:
    reading, writing = pty.openpty()
    os.set_blocking(reading, False)
    run(writing)
    os.close(writing)
    text = os.read(reading, 65536).decode()
    os.close(reading)
    assert "solved by only one" not in text and text.count("\r\n") > 6
