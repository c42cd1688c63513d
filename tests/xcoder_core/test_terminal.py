"""What others wrote cannot steer the terminal that it is shown on."""

from xcoder_core.terminal import cell, harmless, harmless_lines

HOSTILE = "a\x1b[2J\x07\x9bb\u202e\ud800\rc"
SHOWN = "a\\x1b[2J\\x07\\x9bb\\u202e\\ud800\\rc"


def test_control_formatting_and_half_characters_are_shown_as_escapes() -> None:
    assert harmless(HOSTILE + "\n\té 字 😀") == SHOWN + "\\n\té 字 😀"
    assert harmless_lines(f"{HOSTILE}\n{HOSTILE}\n") == f"{SHOWN}\n{SHOWN}\n"


def test_markup_in_a_cell_is_text() -> None:
    assert cell(f"[/][red]{HOSTILE}").plain == f"[/][red]{SHOWN}"
