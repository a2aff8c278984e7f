"""Stage 10: a packed model becomes a repository on the Hugging Face Hub."""

from __future__ import annotations

import logging
from pathlib import Path

from huggingface_hub import HfApi

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import HUB_ERRORS, explain
from lid_toolkit.package.read import read_package, unpacked
from lid_toolkit.package.write import CARD

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
    with unpacked(package) as folder:
        read_package(folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        sizes = {str(path.relative_to(folder)): path.stat().st_size for path in paths}
        logging.info("%s: %d files, %.1f MB", repository, len(sizes), sum(sizes.values()) / 1e6)
        if dry_run:
            for name, size in sizes.items():
                print(f"{size:>14,}  {name}")
            print(f"\n{(folder / CARD).read_text(encoding='utf-8')}", end="")
            return
        try:
            api = HfApi(token=True)
            address = api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=f"Upload {package.name}",
                delete_patterns=OF_AN_EARLIER_VERSION,
            )
        except HUB_ERRORS as error:
            fault, mend = explain(error)
            raise LidError(fault, where=repository, mend=mend) from error
        logging.info("%s, commit %s", address, commit.oid)
