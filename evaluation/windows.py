"""The windows of LiveCodeBench that scores are published for, by exact name, with the problems that each must hold.

A release is the first files of the data set (`release_v5` is files 1 to 5), a window the problems of some files whose
contest lies between two dates: the official filter, both ends inclusive, the last one at midnight. "v5" and "v6" mean
different problems in different papers, so neither is a name here. A count that differs means another version of the
files, whose scores could not be compared.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xcoder_core.errors import InputError

REPOSITORY = "livecodebench/code_generation_lite"
FILES = {1: "test.jsonl", **{number: f"test{number}.jsonl" for number in range(2, 7)}}


@dataclass(frozen=True, slots=True)
class Window:
    """`files` are the data set's increments, `problems` the known count. Without dates all problems are in it."""

    name: str
    release: str
    files: tuple[int, ...]
    first: datetime | None
    last: datetime | None
    problems: int

    @property
    def described(self) -> str:
        """The release and the dates, as they stand beside a score."""
        dates = "all dates" if self.first is None else f"{self.first:%Y-%m-%d}..{self.last:%Y-%m-%d}"
        return f"{self.release}, {dates}, {self.problems} problems"

    def holds(self, moment: datetime) -> bool:
        """Whether a contest that began then is in the window."""
        return (self.first is None or self.first <= moment) and (self.last is None or moment <= self.last)


_AUGUST, _FEBRUARY, _MAY = datetime(2024, 8, 1), datetime(2025, 2, 1), datetime(2025, 5, 1)
WINDOWS = {
    window.name: window
    for window in (
        Window("v5-279", "release_v5", (1, 2, 3, 4, 5), _AUGUST, _FEBRUARY, 279),
        Window("v5-268", "v4_v5", (4, 5), None, None, 268),
        Window("v6-131", "release_v6", (1, 2, 3, 4, 5, 6), _FEBRUARY, _MAY, 131),
        Window("v6-175", "v6", (6,), None, None, 175),
        Window("v6-454", "release_v6", (1, 2, 3, 4, 5, 6), _AUGUST, _MAY, 454),
    )
}


def find_window(name: str) -> Window:
    """The window of this exact name. Raises InputError with the list of all for any other, "v5" and "v6" among them."""
    if name not in WINDOWS:
        known = "\n".join(f"  livecodebench:{window.name}  ({window.described})" for window in WINDOWS.values())
        raise InputError(
            f"livecodebench:{name} is not the name of one window; papers mean different problems by it. "
            f"Give one of these:\n{known}"
        )
    return WINDOWS[name]


def window_files(window: Window, folder: Path | None) -> list[Path]:
    """The window's files in `folder`, or in the cache of the Hugging Face hub where no folder is given.

    Nothing is downloaded. Raises InputError where one is missing.
    """
    paths: list[Path] = []
    for number in window.files:
        path = _cached(FILES[number]) if folder is None else folder / FILES[number]
        if path is None or not path.is_file():
            where = "the hub's cache" if folder is None else str(folder)
            needed = ", ".join(FILES[n] for n in window.files)
            raise InputError(
                f"livecodebench:{window.name} needs {needed} of {REPOSITORY}, and {where} has no {FILES[number]}. "
                f"Get them with `hf download {REPOSITORY} --repo-type dataset --local-dir FOLDER` and set "
                "evaluation.livecodebench_folder=FOLDER"
            )
        paths.append(path)
    return paths


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(REPOSITORY, name, repo_type="dataset")
    return Path(found) if isinstance(found, str) else None
