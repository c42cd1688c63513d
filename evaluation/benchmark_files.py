"""The files behind a name in `evaluation.benchmarks`, known before any of them is read."""

from pathlib import Path

from evaluation.windows import find_window, window_files
from xcoder_train.core.errors import InputError


def benchmark_files(name: str, livecodebench_folder: Path | None) -> list[Path]:
    """Where a benchmark lies; nowhere for `heldout`, whose problems are those of the synthesis.

    Raises InputError for a name that means no benchmark, and where a file is missing.
    """
    kind, _, rest = name.partition(":")
    if name == "heldout":
        return []
    if kind == "livecodebench":
        return window_files(find_window(rest), livecodebench_folder)
    if kind not in ("file", "evalplus") or not rest:
        raise InputError(
            "expected `heldout`, `livecodebench:NAME`, `file:PATH` of a LiveCodeBench file, or `evalplus:PATH`"
        )
    path = Path(rest)
    if not path.is_file():
        raise InputError(f"there is no such file: {path}")
    return [path]
