"""Where a model comes from: an experiment, a model file, a packed model, the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from lid_toolkit.errors import LidError
from lid_toolkit.inference.package import META, NEEDED, read_package
from lid_toolkit.training.checkpoint import SavedModel, load_model

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
        LidError: no such repository, no right to read it, or no network and not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(NEEDED)))
    except RepositoryNotFoundError:
        fault, mend = (
            "no such path here, nor a repository on the Hub",
            "check the name, or log in (hf auth login)",
        )
    except LocalEntryNotFoundError:
        fault, mend = "no such path here, and the Hub cannot be reached", "check the name and the network"
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        fault, mend = str(error).partition("\n")[0], "check the name, the revision and the network"
    raise LidError(fault, where=repository, mend=mend)
