"""Stage 10: a packed model becomes a repository on the Hugging Face Hub."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from lid_toolkit.errors import LidError
from lid_toolkit.hub.pack import CARD
from lid_toolkit.inference.package import read_package, unpacked

OF_AN_EARLIER_VERSION = ["results/*", "images/*"]


def upload(package: Path, repository: str, private: bool, dry_run: bool = False) -> None:
    """Create the repository, or update it, with the files of a zip of stage 9 in one commit.

    A file whose content the Hub has is not sent again, so an upload that was cut off goes on.

    Args:
        package: the zip.
        repository: ``user/repo``.
        private: whether a repository that is created is private; an existing one stays as it is.
        dry_run: only show the files, their sizes and the card.

    Raises:
        LidError: not a packed model, no token, no rights, no network, or a bad name.
    """
    names = member_names(package)
    with unpacked(package, tuple(names)) as folder:
        read_package(folder)
        sizes = {name: (folder / name).stat().st_size for name in names}
        logging.info("%s: %d files, %.1f MB", repository, len(sizes), sum(sizes.values()) / 1e6)
        if dry_run:
            for name, size in sizes.items():
                print(f"{size:>14,}  {name}")
            print(f"\n{(folder / CARD).read_text(encoding='utf-8')}", end="")
            return
        with one_line_errors(repository):
            api = HfApi()
            address = api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=f"Upload {package.name}",
                delete_patterns=OF_AN_EARLIER_VERSION,
            )
        logging.info("%s, commit %s", address, commit.oid)


def member_names(package: Path) -> list[str]:
    """Return the names of a zip's files, sorted.

    Raises:
        LidError: there is none, or it is damaged.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            return sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except FileNotFoundError:
        raise LidError("no such file", where=package, mend="run stage 9 first") from None
    except zipfile.BadZipFile as error:
        raise LidError(f"damaged, or no zip: {error}", where=package, mend="run stage 9 again") from error


@contextmanager
def one_line_errors(repository: str) -> Iterator[None]:
    """Turn what the Hub's client raises inside into one line that says how to mend it."""
    try:
        yield
    except HFValidationError as error:
        fault, mend = _first_line(error), "give --hf_repo USER/NAME"
    except LocalTokenNotFoundError:
        fault, mend = "no token for the Hub", "run `hf auth login`, or set HF_TOKEN"
    except HfHubHTTPError as error:
        status = error.response.status_code
        fault = f"the Hub answered {status}: {_first_line(error)}"
        mend = {
            401: "run `hf auth login`, or set HF_TOKEN to a token that may write",
            403: "take a repository and a token that may write to it",
        }.get(status, "try again later")
    except (OSError, httpx2.TransportError) as error:
        fault, mend = f"the Hub cannot be reached: {_first_line(error)}", "check the network and try again"
    else:
        return
    raise LidError(fault, where=repository, mend=mend)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
