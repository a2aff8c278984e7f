"""Upload a packed model to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean


def main(arguments: Sequence[str]) -> None:
    """Parse the options and upload the model."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.hub.upload import upload

    upload(options.package, options.hf_repo, options.hf_private, options.dry_run)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--package", type=Path, required=True, help="packed model (zip file)")
    parser.add_argument("--hf_repo", required=True, help="USER/NAME on the Hub; created if it does not exist")
    parser.add_argument(
        "--hf_private", type=boolean, default=True, help="if the repository is new, create it as private"
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only print the files, their sizes and the model card"
    )
    return parser
