"""Checks of a model's folder before anything runs: its files are there, complete, and of the right kind."""

import json
import re
from pathlib import Path

from xcoder_core.errors import InputError

_LONGEST_HEADER = 100_000_000  # bytes; what the safetensors library reads at most
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


def looks_local(path: str) -> bool:
    """True when a model path can only mean a folder: it exists, or it is no `owner/name`."""
    return Path(path).exists() or path.startswith(("/", ".", "~")) or path.count("/") != 1


def check_model_folder(folder: Path) -> None:
    """Raise InputError when a folder does not hold a model, naming the file that is missing or damaged.

    Of the weights only the header is read, so a model of any size is checked at once.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; expected a model's folder or a hub name owner/name")
    weights = sorted(folder.glob("*.safetensors"))
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if weights else ["*.safetensors"]
    missing += [] if any((folder / name).is_file() for name in _TOKENIZERS) else ["tokenizer.json"]
    if missing:
        raise InputError(f"the folder {folder} is not a model: it lacks {' and '.join(missing)}")
    try:
        for file in weights:
            _check_weights(file)
        for name in ("config.json", "tokenizer.json"):
            if (folder / name).exists() and not _is_object((folder / name).read_bytes()):
                raise InputError(f"{name} is damaged: it is no JSON object")
    except (InputError, OSError) as error:
        raise InputError(f"cannot load the model from {folder}: {error}. Copy the model there again") from error


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer of a model's folder brings a chat template, in one of the places where it may stand."""
    places = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    if any((folder / name).exists() for name in places):
        return True
    file = folder / "tokenizer_config.json"
    return file.exists() and json.loads(file.read_bytes()).get("chat_template") is not None


def check_chat_template(file: Path) -> None:
    """Raise InputError for a file that is no chat template."""
    import jinja2

    try:
        text = file.read_text(encoding="utf-8-sig")
        # What a model is trained on stands between tags that only transformers knows.
        plain = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", text)
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{file}, line {error.lineno}: not a Jinja template: {error.message}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    if "messages" not in text:
        raise InputError(f"{file} is no chat template: it never names `messages`")


def _check_weights(file: Path) -> None:
    """A safetensors file is 8 bytes with the header's length, the header (JSON), and the tensors it describes."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= min(size, _LONGEST_HEADER) else b""
    if not _is_object(header):
        raise InputError(f"{file.name} is damaged: it does not begin with the header of a safetensors file")
    tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
    described = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
    if size != described:
        raise InputError(f"{file.name} is damaged: it has {size:,} bytes, and its header tells of {described:,}")


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
