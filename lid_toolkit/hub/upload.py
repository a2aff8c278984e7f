"""Upload a packed model to a repository on the Hugging Face Hub."""

from __future__ import annotations

import logging
from pathlib import Path

from huggingface_hub import HfApi

from lid_toolkit.errors import LidError
from lid_toolkit.inference.hub_files import explain
from lid_toolkit.models.frontends.pretrained.hub import hub_fault
from lid_toolkit.package.files import unpacked
from lid_toolkit.package.format import CARD, IMAGES, MODEL_ONNX, POLICY, RESULTS
from lid_toolkit.package.read import read_package

# Files that a package may lack: those of an earlier version would be taken for those of this one.
DELETED_IF_NOT_PACKED = [f"{RESULTS}/*", f"{IMAGES}/*", MODEL_ONNX, POLICY]


def upload(package: Path, repository: str, private: bool, dry_run: bool = False) -> None:
    """Create or update the repository with the files of a packed model, in one commit.

    Files that the Hub already has are not sent again, so an interrupted upload resumes.

    Args:
        package: the zip.
        repository: ``user/repo``.
        private: whether a new repository is private; an existing one keeps its setting.
        dry_run: only print the files, their sizes and the card.

    Raises:
        LidError: not a packed model, or the Hub refused the upload or cannot be reached.
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
        if (unreachable := hub_fault()) is not None:
            fault, mend = explain(unreachable)
            raise LidError(fault, where=repository, mend=mend)
        try:
            api = HfApi(token=True)
            address = api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=f"Upload {package.name}",
                delete_patterns=DELETED_IF_NOT_PACKED,
            )
        except Exception as error:  # the client raises many kinds of exception
            fault, mend = explain(error)
            raise LidError(fault, where=repository, mend=mend) from error
        logging.info("%s, commit %s", address, commit.oid)
