"""Files of a repository on the Hugging Face Hub, from its cache or downloaded; PyTorch is not needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.errors import LidError

MENDS = {
    401: "run `hf auth login`, or set HF_TOKEN to a token with this permission",
    403: "use another repository, or a token with this permission",
}
LATER = "try again later"
CONNECT = "check the network, and the proxies and HF_ENDPOINT in the environment"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = (".pth", ".zip", ".onnx")
"""How the names of files end that do not exist; they are no repositories."""


def is_repository(source: str | Path) -> bool:
    """Return whether a source is named like a repository, and is no path on this machine."""
    path = Path(source)
    return not path.exists() and path.suffix not in FILES and bool(REPOSITORY.fullmatch(str(source)))


def fetch(
    repository: str, revision: str | None, files: Sequence[str], unreachable: BaseException | None
) -> Path:
    """Return the folder of the cache in which those of some files are that a repository has.

    Args:
        repository: its name.
        revision: branch, tag or commit.
        files: names or patterns.
        unreachable: why the Hub cannot be reached, so that only the cache is used; None if it can be.

    Raises:
        LidError: the repository does not exist or may not be read; or the Hub cannot be reached and the files
            are not in the cache.
    """
    from huggingface_hub import snapshot_download  # takes a while, which local models do not need

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(files),
                local_files_only=unreachable is not None,
            )
        )
    except Exception as error:  # proxies, addresses and damaged caches make the client raise anything
        fault, mend = explain(unreachable or error)
        raise LidError(f"does not exist on this machine, and {fault}", where=repository, mend=mend) from error


def explain(error: BaseException) -> tuple[str, str]:
    """Return an explanation of an error of the Hub's client and advice, one line each."""
    import httpx2
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__)
    if isinstance(error, LocalTokenNotFoundError):
        return "no token for the Hub was found", "run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return (
            "the Hub has no such repository, or you may not read it",
            "check the name, or run `hf auth login`",
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the Hub answered {status}: {error.server_message or reason}", MENDS.get(status, LATER)
    if isinstance(error, HFValidationError):
        return f"not a valid name for a repository: {reason}", "give USER/NAME"
    if isinstance(error, httpx2.TransportError | ConnectionError):
        return (
            f"the Hub cannot be reached: {reason}",
            CONNECT,
        )
    return reason, LATER
