from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def tag(name):
    print(f"<{name}>")
    try:
        yield name.upper()
    finally:
        print(f"</{name}>")


with ExitStack() as stack:
    print([stack.enter_context(tag(name)) for name in "ab"])
with suppress(ZeroDivisionError), tag("c"):
    1 / 0
