"""Reads what W&B wrote offline; the package has no reader of its own that runs without a server."""

import json
import struct
from pathlib import Path
from typing import Any


def history(file: Path) -> list[dict[str, Any]]:
    """The logged steps in a `.wandb` file: blocks of 32 KiB with pieces of records, as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, held, lines = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:  # too few bytes for the head of a piece: padding
            place += left
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        held = data[place + 7 : place + 7 + size] if kind in (1, 2) else held + data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            record = Record.FromString(held)
            if record.HasField("history"):
                items = record.history.item
                lines.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return lines
