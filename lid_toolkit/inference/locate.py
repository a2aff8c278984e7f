"""Where a model comes from: an experiment, a model file, a packed model, the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)

from lid_toolkit.errors import LidError
from lid_toolkit.package.read import META, NEEDED, read_package
from lid_toolkit.training.checkpoint import SavedModel, load_model

# What the Hub's client raises; errors of threads and of HTTP are among them.
HUB_ERRORS = (OSError, RuntimeError, ValueError, httpx2.TransportError)
MENDS = {
    401: "run `hf auth login`, or set HF_TOKEN to a token that may do this",
    403: "take a repository and a token that may do this",
}
LATER = "try again later"
BEST_MODEL = "valid.*.best.pth"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def open_model(source: str | Path, revision: str | None = None) -> SavedModel:
    """Load a model.

    Args:
        source: an experiment directory of stage 5 (its best model is taken), a model file, a zip of
            stage 9 or the folder it unpacks to, or ``user/repo`` on the Hugging Face Hub where no
            such path exists.
        revision: branch, tag or commit of the repository; None for its main branch.

    Raises:
        LidError: nothing there, not a model, or one that cannot be trusted.
    """
    path = Path(source)
    if not path.exists() and REPOSITORY.fullmatch(str(source)) and path.suffix not in (".pth", ".zip"):
        return read_package(download(str(source), revision))
    if revision is not None:
        raise LidError(
            f"revision {revision} of a path", where=source, mend="only repositories on the Hub have one"
        )
    if path.suffix == ".zip" or (path / META).exists():
        return read_package(path)
    if path.is_dir():
        path = min(path.glob(BEST_MODEL), default=path / BEST_MODEL)
    return load_model(path)


def download(repository: str, revision: str | None) -> Path:
    """Fetch a packed model from the Hugging Face Hub, or take it from the cache; return its folder.

    Raises:
        LidError: no such repository, no right to read it, no network and not in the cache, or another
            kind of model.
    """
    from huggingface_hub import snapshot_download  # takes half a second, which models from disk need not wait

    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(NEEDED)))
    except HUB_ERRORS as error:
        fault, mend = explain(error)
        raise LidError(f"no such path here, and {fault}", where=repository, mend=mend) from error
    if not (folder / META).exists():
        raise LidError(f"a repository without {META}", where=repository, mend="name a model of stage 10")
    return folder


def explain(error: BaseException) -> tuple[str, str]:
    """Return in one line each what an error of the Hub's client means, and how to mend it."""
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__)
    if isinstance(error, LocalTokenNotFoundError):
        return "there is no token for the Hub", "run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has no such repository that you may read", "check the name, or run `hf auth login`"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the Hub answered {status}: {error.server_message or reason}", MENDS.get(status, LATER)
    if isinstance(error, HFValidationError):
        return f"the Hub takes no such name: {reason}", "give USER/NAME"
    if isinstance(error, httpx2.TransportError | ConnectionError):
        return f"the Hub cannot be reached: {reason}", "check the network and try again"
    return reason, LATER
