"""The files of a published set, on this machine or fetched from the hub, and their rows one after another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.features.rows import BadRow, read_rows
from synth.published.config import HUB_ID, PARTS, ImportSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import open_text_bytes
from xcoder_train.core.hub import asking_hub

SUFFIXES = (".parquet", ".jsonl", ".json", ".jsonl.gz", ".json.gz")
NOT_FOR_TRAINING = "test_wo_prompt"
"""X-Coder's validation file, which lies among its RL files: LiveCodeBench problems with their tests."""

COLUMNS = {
    "sft": ("query", "response", "model", "style"),
    "rl": ("problem", "prompt", "prompter_type", "type", "input_output", "selected_uts", "starter_code", "style"),
}
NEEDED = {"sft": (("query",), ("response",)), "rl": (("problem", "prompt"), ("input_output", "selected_uts"))}
"""By use: groups of columns, of each of which a file needs one."""

ROWS_AT_ONCE = 32
"""A row of the RL set may hold megabytes of tests."""


def local_files(settings: ImportSettings) -> list[Path] | None:
    """The set's files in the order of their names, where they lie on this machine; None for a set on the hub.

    Raises `InputError` where `path` is neither, or holds none of the configuration's files.
    """
    place = Path(settings.place)
    if place.is_file():
        return [place]
    if not place.is_dir():
        if settings.path is not None and not HUB_ID.fullmatch(settings.path):
            raise InputError(f"there is no file or folder {place}, and it is no id of a dataset such as owner/name")
        return None
    return _chosen(place, settings)


def fetch_files(settings: ImportSettings) -> list[Path]:
    """The set's files, fetched from the hub where they are not on this machine. A fetch that was cut off goes on.

    Raises `EnvironmentLacks` where the hub refuses or cannot be reached.
    """
    found = local_files(settings)
    if found is not None:
        return found
    from huggingface_hub import snapshot_download

    words = PARTS[settings.source][settings.part]
    patterns = [f"*{word}*{suffix}" for word in {words, words.replace("_", "-")} for suffix in SUFFIXES]
    mend = (
        f"Fetch it where there is a network (hf download {settings.place} --repo-type dataset --local-dir DIR) and "
        "give its folder as `path`"
    )
    with asking_hub(f"the dataset {settings.place} cannot be fetched from the hub", mend):
        folder = snapshot_download(
            settings.place,
            repo_type="dataset",
            revision=settings.revision,
            allow_patterns=patterns,
            ignore_patterns=[f"*{NOT_FOR_TRAINING}*"],
        )
    return _chosen(Path(folder), settings)


def count_rows(files: list[Path], limit: int | None) -> int:
    """Rows of the files, blank lines of JSON lines counted too, and `limit` where that is less."""
    import pyarrow
    from pyarrow.parquet import read_metadata

    rows = 0
    for file in files:
        try:
            if file.suffix == ".parquet":
                rows += read_metadata(file).num_rows
            else:
                with open_text_bytes(file) as lines:
                    rows += sum(1 for _ in lines)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{file} cannot be read: {error}") from error
    return rows if limit is None else min(rows, limit)


def read_set(files: list[Path], settings: ImportSettings, first: int) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Each row with its number over all files (from 0), from number `first` on, as far as `limit` goes.

    Raises `InputError` for a file that is not of this set: unreadable, or without the columns that are needed.
    """
    number = 0
    for file in files:
        rows = _parquet_rows if file.suffix == ".parquet" else _json_rows
        for row in rows(file, settings.use, max(0, first - number)):
            if isinstance(row, int):
                number += row
                continue
            if settings.limit is not None and number >= settings.limit:
                return
            yield number, row
            number += 1


def _parquet_rows(file: Path, use: str, skipped: int) -> Iterator[int | dict[str, Any]]:
    """The count of the rows that are skipped, then the others; whole row groups are skipped unread."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            for group in NEEDED[use]:
                if not set(group) & set(names):
                    raise InputError(
                        f"{file} has none of the columns {', '.join(group)}; it has {', '.join(names)}. "
                        "Is it another set than `source` says?"
                    )
            wanted = [name for name in COLUMNS[use] if name in names]
            passed = 0
            for group_number in range(table.num_row_groups):
                size = table.metadata.row_group(group_number).num_rows
                if passed + size <= skipped:
                    passed += size
                    yield size
                    continue
                batches = table.iter_batches(ROWS_AT_ONCE, row_groups=[group_number], columns=wanted)
                for row in (row for batch in batches for row in batch.to_pylist()):
                    yield row if passed >= skipped else 1
                    passed += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} is not a readable Parquet file: {error}") from error


def _json_rows(file: Path, use: str, skipped: int) -> Iterator[int | dict[str, Any] | BadRow]:
    for place, found in enumerate(read_rows(file)):
        if place < skipped:
            yield 1
        else:
            yield found if isinstance(found, BadRow) else found[1]


def _chosen(folder: Path, settings: ImportSettings) -> list[Path]:
    """The files of the configuration: those whose path has its words."""
    files = sorted(
        path for path in folder.rglob("*") if path.name.endswith(SUFFIXES) and NOT_FOR_TRAINING not in path.name
    )
    words = PARTS[settings.source][settings.part]
    chosen = [path for path in files if words in path.as_posix().replace("-", "_")]
    if not chosen:
        names = ", ".join(path.relative_to(folder).as_posix() for path in files[:5]) or "no such file at all"
        raise InputError(
            f"{folder} holds no {', '.join(SUFFIXES)} file whose path has `{words}` in it, which the configuration "
            f"{settings.part} is named by; found {names}. Give the file itself as `path`, or another `configuration`"
        )
    return chosen
