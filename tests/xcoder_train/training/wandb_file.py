"""Reads what W&B wrote offline; the package has no reader of its own that runs without a server."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def history(file: Path) -> list[dict[str, Any]]:
    """The logged steps in a `.wandb` file."""
    found = [record.history.item for record in _records(file) if record.HasField("history")]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in line} for line in found]


def summary_and_jobs(file: Path) -> tuple[dict[str, Any], set[str]]:
    """The latest summary, and every type of job that the run was given."""
    summary: dict[str, Any] = {}
    records = list(_records(file))
    for record in records:
        for item in record.summary.update if record.HasField("summary") else ():
            keys = list(item.nested_key) or [item.key]
            inner = summary
            for key in keys[:-1]:
                inner = inner.setdefault(key, {})
            inner[keys[-1]] = json.loads(item.value_json)
    return summary, {record.run.job_type for record in records if record.HasField("run")}


def _records(file: Path) -> Iterator[Any]:
    """Blocks of 32 KiB with pieces of records, as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, held = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:  # too few bytes for the head of a piece: padding
            place += left
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        held = data[place + 7 : place + 7 + size] if kind in (1, 2) else held + data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(held)
