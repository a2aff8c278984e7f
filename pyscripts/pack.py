#!/usr/bin/env python3
"""Stage 9: pack a model with its labels, scores and pictures into one zip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages import run

from lid_toolkit.cli import OptionParser, boolean


def main(arguments: Sequence[str]) -> None:
    """Parse the options and pack."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, required=True, help="model file in its experiment directory")
    parser.add_argument("--output", type=Path, required=True, help="the zip to write")
    parser.add_argument(
        "--inference_dirs",
        type=Path,
        nargs="*",
        default=[],
        help="directories of identified sets, .../MODEL/SET, whose results are packed",
    )
    parser.add_argument(
        "--hf_repo", help="repository that the example in the model card loads; by default the zip"
    )
    parser.add_argument(
        "--hf_license",
        help="licence in the model card; by default that of the pretrained encoder, else apache-2.0",
    )
    parser.add_argument("--datasets", nargs="*", default=[], help="training data, for the model card")
    parser.add_argument("--command", required=True, help="training command, for the model card")
    parser.add_argument("--dry_run", type=boolean, default=False, help="only say whether the zip is current")
    options = parser.parse_args(arguments)

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


if __name__ == "__main__":
    run(main)
