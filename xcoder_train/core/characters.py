"""Text that is no Unicode: half of a character's pair, as a program or a server leaves it, which no file can hold."""


def whole_characters(text: str) -> str:
    """The text with the two halves of a character joined, and U+FFFD for a half that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
