"""A table's keys: none is lost, none is invented, and they take little memory."""

import tracemalloc

from xcoder_core.keys import Keys


def test_what_was_added_is_there_and_nothing_else() -> None:
    keys = Keys()
    for number in range(40_000):  # past two merges into the sorted array
        keys.add((f"000-train-{number:08d}", number % 8))
    assert len(keys) == 40_000
    assert all((f"000-train-{number:08d}", number % 8) in keys for number in range(40_000))
    assert not any((f"000-train-{number:08d}", 8) in keys for number in range(40_000))
    assert ("000-train-00000000", "0") not in keys


def test_a_key_takes_less_than_50_bytes() -> None:
    tracemalloc.start()
    keys = Keys()
    for number in range(60_000):
        keys.add((f"000-train-{number:08d}", 1))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 60_000 < 50
