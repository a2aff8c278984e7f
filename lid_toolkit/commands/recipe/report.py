"""Report on an experiment, or on several side by side, as pages that need no network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.report import PAGE, renew_reports
from lid_toolkit.files import write_whole


def main(arguments: Sequence[str]) -> None:
    """Parse the options, and write the page or pages."""
    options = make_parser().parse_args(arguments)
    if len(options.experiments) == 1:
        if options.output is not None:
            mend = "give several experiments, or leave it out"
            raise LidError("is for several experiments", where="--output", mend=mend)
        for path in renew_reports(options.experiments[0]):
            print(path)
        return
    from lid_toolkit.evaluation.side_by_side import side_by_side  # imports matplotlib

    page, output = side_by_side(options.experiments), options.output or Path(PAGE)
    with write_whole(output) as stream:
        stream.write(page)
    logging.info("see %s", output)


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument(
        "experiments",
        type=Path,
        nargs="+",
        metavar="EXP",
        help="experiments with scored sets, exp/lid_TAG. One: its reports are written again where they are. "
        "Several: one page has them side by side",
    )
    parser.add_argument(
        "--output", type=Path, help="the page of several experiments; by default, report.html"
    )
    return parser
