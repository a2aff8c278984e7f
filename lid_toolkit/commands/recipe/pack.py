"""Pack a model with its labels, scores and figures into one zip file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean


def main(arguments: Sequence[str]) -> None:
    """Parse the options and pack the model."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.package.write import Packing, pack

    pack(
        Packing(
            model_file=options.model,
            inference_dirs=tuple(options.inference_dirs),
            output=options.output,
            repository=options.hf_repo or None,
            licence=options.hf_license or None,
            datasets=tuple(options.datasets),
            command=options.command,
        ),
        options.dry_run,
    )


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint in its experiment directory")
    parser.add_argument("--output", type=Path, required=True, help="zip file to write")
    parser.add_argument(
        "--inference_dirs",
        type=Path,
        nargs="*",
        default=[],
        help="directories with results to pack: .../MODEL/SET",
    )
    parser.add_argument(
        "--hf_repo", help="repository that the example in the model card loads; by default, the zip file"
    )
    parser.add_argument(
        "--hf_license",
        help="licence in the model card; by default, that of the pretrained encoder or apache-2.0",
    )
    parser.add_argument("--datasets", nargs="*", default=[], help="training data, for the model card")
    parser.add_argument("--command", required=True, help="training command, for the model card")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether the zip file is up to date"
    )
    return parser
