"""The published sets: settings of an import, the files of a set, here or on the hub, and their rows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from synth.published.rows import Row
from xcoder_core.errors import InputError
from xcoder_core.files import open_text_bytes
from xcoder_core.hub import asking_hub
from xcoder_core.records import readable
from xcoder_core.rows import BadRow, parquet_rows, read_rows
from xcoder_core.settings import GivenPath, Settings

Source = Literal["x-coder-sft-376k", "x-coder-rl-40k"]

HUB_IDS: dict[str, str] = {
    "x-coder-sft-376k": "IIGroup/X-Coder-SFT-376k",
    "x-coder-rl-40k": "IIGroup/X-Coder-RL-40k",
}
USES: dict[str, Literal["sft", "rl"]] = {"x-coder-sft-376k": "sft", "x-coder-rl-40k": "rl"}

PARTS: dict[str, dict[str, str]] = {
    "x-coder-sft-376k": {
        name: name for name in ("hybrid_376k", "unique_prompt_202k", "multiple_solution_218k", "verified_90k")
    },
    "x-coder-rl-40k": {"synthetic": "syn_rl_data", "real": "real_rl_data"},
}
"""By set and configuration: the words that the paths of its files contain. The first configuration is the default."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class ImportSettings(Settings):
    """One published set, or a part of one. Its rows become a split whose name is the set's and the configuration's."""

    source: Source
    """Which set it is, and so how its columns are read: `x-coder-sft-376k` gives `sft` tasks with solutions,
    `x-coder-rl-40k` gives `rl` tasks with tests."""

    path: GivenPath | None = None
    """Where the set is: a folder or a file (Parquet or JSON lines) on this machine, or a dataset's id on the hub. When
    left out, the set's own id."""

    configuration: str | None = None
    """`hybrid_376k` (default), `unique_prompt_202k`, `multiple_solution_218k` or `verified_90k` of the SFT set;
    `synthetic` (default) or `real` of the RL set."""

    revision: str | None = None
    """Commit, tag or branch of a dataset on the hub; its main branch when left out. Only a commit ensures that the same
    rows are read again."""

    limit: int | None = Field(default=None, ge=1)
    """Read only this many rows, from the first; all when left out."""

    @model_validator(mode="after")
    def _is_a_part_of_its_set(self) -> "ImportSettings":
        parts = PARTS[self.source]
        if self.configuration is not None and self.configuration not in parts:
            raise ValueError(f"no configuration {self.configuration!r} in {self.source}: expected {', '.join(parts)}")
        if self.revision is not None and Path(self.place).exists():
            raise ValueError(f"revision belongs to a dataset on the hub, and {self.place} is on this machine")
        return self

    @property
    def place(self) -> str:
        """The path, or the id on the hub."""
        return self.path or HUB_IDS[self.source]

    @property
    def part(self) -> str:
        """The configuration."""
        return self.configuration or next(iter(PARTS[self.source]))

    @property
    def split(self) -> str:
        """The name of the split that this import becomes."""
        return f"{self.source}-{self.part}"

    @property
    def use(self) -> Literal["sft", "rl"]:
        """What its tasks are for."""
        return USES[self.source]


SUFFIXES = (".parquet", ".jsonl", ".json", ".jsonl.gz", ".json.gz")
NOT_FOR_TRAINING = "test_wo_prompt"
"""X-Coder's validation file, which lies among its RL files: LiveCodeBench problems with their tests."""

COLUMNS = {
    "sft": ("query", "response", "model", "style"),
    "rl": ("problem", "prompt", "prompter_type", "type", "input_output", "selected_uts", "starter_code", "style"),
}
NEEDED = {"sft": (("query",), ("response",)), "rl": (("problem", "prompt"), ("input_output", "selected_uts"))}
"""By use: groups of columns, of each of which a file needs one."""


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
    """The set's files, fetched from the hub where they are not on this machine. An interrupted fetch continues.

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
    from pyarrow.parquet import read_metadata

    rows = 0
    for file in files:
        with readable(file):
            if file.suffix == ".parquet":
                rows += read_metadata(file).num_rows
            else:
                with open_text_bytes(file) as lines:
                    rows += sum(1 for _ in lines)
    return rows if limit is None else min(rows, limit)


def read_set(files: list[Path], settings: ImportSettings, first: int) -> Iterator[tuple[int, Row | BadRow]]:
    """Each row with its number over all files (from 0), from number `first` on, as far as `limit` goes.

    What a row calls its `difficulty` is the band that its file is.
    Raises `InputError` for a file that is not of this set: unreadable, or without the columns that are needed.
    """
    number = 0
    for file in files:
        start, band = number, {"difficulty": band_of(file) if settings.use == "rl" else None}
        for index, row in _rows(file, settings.use, max(0, first - start)):
            number = start + index
            if settings.limit is not None and number >= settings.limit:
                return
            if number >= first:
                yield number, row if isinstance(row, BadRow) else {**row, **band}
            number += 1
        if file.suffix == ".parquet":  # all of it may have been skipped
            number = start + count_rows([file], None)


def band_of(file: Path) -> str | None:
    """The band of pass rates that a file of the RL set is, by its name; None for other files."""
    name = file.name.partition(".")[0]
    return name if re.fullmatch(r"part_\d+|rl_tasks_\w+", name) else None


def _rows(file: Path, use: str, skipped: int) -> Iterator[tuple[int, Row | BadRow]]:
    """Each row with its index in the file. Of a Parquet file, `skipped` rows are left out."""
    if file.suffix == ".parquet":
        yield from parquet_rows(file, _columns(file, use), skipped)
    else:
        yield from enumerate(row if isinstance(row, BadRow) else row[1] for row in read_rows(file))


def _columns(file: Path, use: str) -> list[str]:
    """The columns that are read. Raises `InputError` where the file lacks one that is needed."""
    from pyarrow.parquet import read_schema

    with readable(file):
        names = read_schema(file).names
    for group in NEEDED[use]:
        if not set(group) & set(names):
            raise InputError(
                f"{file} has none of the columns {', '.join(group)}; it has {', '.join(names)}. "
                "Is it another set than `source` says?"
            )
    return [name for name in COLUMNS[use] if name in names]


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
            f"{folder} holds no {', '.join(SUFFIXES)} file with `{words}` in its path, as files of the configuration "
            f"{settings.part} have; found {names}. Give the file itself as `path`, or another `configuration`"
        )
    return chosen
