"""The judge's file interface: submissions as JSON lines in, verdicts as JSON lines out, in the same order."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from rich.console import Console
from rich.progress import track

from reward.compiler import compiled_languages
from reward.config import JudgeSettings
from reward.open_judge import open_judge
from reward.submission import read_submissions
from xcoder_core.errors import InputError
from xcoder_core.files import atomic_path


def judge_file(path: Path, output: Path | None, settings: JudgeSettings, *, stop_at_first_failure: bool) -> None:
    """Judge the submissions in `path` and write their verdicts to `output`, or to standard output where it is None.

    Before anything runs, the whole file is checked: `InputError` names the first line that is wrong, or why `output`
    cannot be written, `EnvironmentLacks` a compiler that is missing. `output` appears with its last verdict.
    """
    if output is not None:
        _check_output(output)
    elif settings.executor == "ray":
        raise InputError("give --output: Ray writes notices of its own to standard output, among the verdicts")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a plain file: it is read twice, once to check it and once to judge it")
    languages = Counter(submission.language for submission in read_submissions(path))
    if settings.executor == "local":
        for language in languages.keys() & compiled_languages().keys():
            compiled_languages()[language].find_compiler()
    total = languages.total()
    if total == 0:
        raise InputError(f"{path} holds no submissions: expected one JSON object per line")
    with open_judge(settings) as judge, _verdict_stream(output) as stream:
        judgements = judge.judge(read_submissions(path), stop_at_first_failure=stop_at_first_failure)
        stderr, is_quiet = Console(stderr=True), not sys.stderr.isatty()
        for judgement in track(judgements, "judging", total, console=stderr, disable=is_quiet):
            stream.write(json.dumps(judgement.to_json(), ensure_ascii=False) + "\n")


def _check_output(path: Path) -> None:
    """Raise `InputError` where the verdicts could not be put there once all is judged."""
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write verdicts to {path}: it is not a plain file; give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write verdicts to {path}: {error.strerror}; give another --output") from error


@contextmanager
def _verdict_stream(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with atomic_path(output) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        yield stream
