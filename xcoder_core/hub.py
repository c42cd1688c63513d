"""What a hub of models and datasets said when it refused or could not be reached, wherever it was asked.

The libraries in between raise whatever they like (transformers an OSError, huggingface_hub errors of its own and those
of its HTTP client, of which it changed the package), so it is looked for in the whole chain of an exception.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from xcoder_core.errors import EnvironmentLacks, InputError, chain

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

_CLIENTS = ("httpx", "httpx2", "requests", "wandb")  # what they raise was said by a server, or on the way to it
_NO_SUCH_FILE = "RemoteEntryNotFoundError"  # the hub answered well: what was named there is something else


def hub_words(error: BaseException | None) -> str | None:
    """The hub's own words, or else those of the network on the way to it; None where no hub is to blame."""
    said: dict[int, str] = {}
    for link in chain(error):
        names = [kind.__name__ for kind in type(link).__mro__]
        package = type(link).__module__.partition(".")[0]
        is_hubs = package == "huggingface_hub" and isinstance(link, OSError) and _NO_SUCH_FILE not in names
        if is_hubs or package in _CLIENTS:
            words = " ".join(str(link).split()).rstrip(".") or "no words"
            address = getattr(getattr(link, "_request", None), "url", "")
            of_network = f"{words} ({address})" if address and str(address) not in words else words
            # What huggingface_hub says of a file that is not here gives the reason only as its cause.
            rank = 0 if {"HfHubHTTPError", "OfflineModeIsEnabled"} & set(names) else 1 if package in _CLIENTS else 2
            said.setdefault(rank, f"{type(link).__name__}: {of_network}")
    return said[min(said)] if said else None


@contextmanager
def asking_hub(failed: str, mend: str) -> Iterator[None]:
    """Raise `EnvironmentLacks` where the hub refuses or is away: what `failed`, the hub's words, how to `mend` it."""
    try:
        yield
    except Exception as error:
        words = hub_words(error)
        if words is None:
            raise
        raise EnvironmentLacks(f"{failed}: {words}. {mend}") from error


@dataclass(frozen=True)
class Repository:
    """A repository of a hub, there or yet to be made. `kind` is "dataset", or None for a model."""

    name: str
    private: bool
    kind: str | None = None
    endpoint: str | None = None
    token: str | None = None


def upload(repository: Repository, gather: Callable[[Path], None], message: str, mend: str) -> "CommitInfo":
    """Send what `gather` lays into a folder in one commit, and return that. Raises as `asking_hub`."""
    from huggingface_hub import HfApi

    name, kind = repository.name, repository.kind
    hub = HfApi(endpoint=repository.endpoint, token=repository.token)
    with asking_hub(f"cannot push to {name}", mend), TemporaryDirectory(prefix="push-") as folder:
        hub.create_repo(name, repo_type=kind, private=repository.private, exist_ok=True)
        gather(Path(folder))
        return hub.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, commit_message=message)


@contextmanager
def loading(what: str, path: object) -> Iterator[None]:
    """Load `what` from a folder or by its name on a hub. Raises `EnvironmentLacks` as `asking_hub`, else `InputError`.

    Of a damaged or hostile folder, transformers and tokenizers raise whatever they stumble over.
    """
    failed = f"cannot load the {what} from {path}"
    expected = (
        "Expected a folder with config.json, weights and tokenizer files, or the name of a model on the hub that this "
        "machine can reach"
    )
    try:
        with asking_hub(failed, f"{expected} and may read (`hf auth login`, or HF_TOKEN)"):
            yield
    except EnvironmentLacks:
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's; it is the machine's
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if "trust_remote_code" in str(error):
            expected = "If you trust that code, set model.trust_remote_code: true"
        raise InputError(f"{failed}: {reason}. {expected.rstrip('.')}.") from error
