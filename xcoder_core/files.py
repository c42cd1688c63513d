"""Files that appear whole or not at all, and the fingerprints of their content."""

import codecs
import glob
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from xcoder_core.errors import InputError
from xcoder_core.parent_death import is_alive

JsonObject = dict[str, Any]
"""A JSON object as this project writes it. Whoever reads a value knows what it holds."""

GZIP_MARK = b"\x1f\x8b"


@contextmanager
def open_text_bytes(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a text file that somebody else wrote: unpacked where they are gzip, behind a byte order mark.

    Both are told by the first bytes, whatever the file's name is. Raises `InputError` where the packing is damaged.
    """
    with open(path, "rb") as file:
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if file.peek(2)[:2] == GZIP_MARK else file
        try:
            if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                stream.seek(0)
            yield stream
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{path} is gzip, and cannot be unpacked: {error}; get the file again") from error


def unpacked_stem(path: Path) -> str:
    """A file's name without its last ending, and without `.gz` behind that."""
    return Path(path.name.removesuffix(".gz")).stem


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is flushed to disk and takes `path`'s name.

    A kill at any instant leaves either the old file or the new one under `path`. What killed processes left under
    temporary names is swept first; another living process may be writing `path` too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = leftover.suffixes[-2].removeprefix(".")
        if writer.isdecimal() and not is_alive(int(writer)):
            leftover.unlink(missing_ok=True)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a failed write does not say of what
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success every file is flushed and the folder takes `path`'s name.

    An older folder of that name is replaced. Whatever a killed process left under a temporary name is swept first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        shutil.rmtree(leftover)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for entry in temporary.rglob("*"):
            _flush(entry)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as indented JSON, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_object(path: Path) -> JsonObject:
    """The JSON object that a file holds; {} where there is no file. One that is damaged is an InputError."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}). Restore it, or move its folder away.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold what a run writes there: expected an object")
    return value


def fingerprint(*paths: Path) -> str:
    """16 hex digits over the names and bytes of files and of all files below folders, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
        for file in files:
            name = file.name if file == path else file.relative_to(path).as_posix()
            digest.update(name.encode() + b"\0" + bytes.fromhex(sha256(file)))
    return digest.hexdigest()[:16]


def sha256(file: Path) -> str:
    """64 hex digits over a file's bytes."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def whole_characters(text: str) -> str:
    """The text with the two halves of a character joined, and U+FFFD for a half that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
