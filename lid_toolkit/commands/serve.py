"""``lid serve``: a page and a JSON service that identify languages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import PurePath

from lid_toolkit.cli import OptionParser, names, positive_int
from lid_toolkit.commands.model import add_model, open_identifier
from lid_toolkit.commands.policy import add_policy, chosen_policy
from lid_toolkit.errors import LidError
from lid_toolkit.serve.limits import Limits

INSTALL = "pip install 'lid_toolkit[serve]'"
LIMITS = Limits()
HIGHEST_PORT = 65535


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal.

    Raises:
        LidError: an option is wrong, the model cannot be loaded, or the port is in use.
    """
    options = make_parser().parse_args(arguments)
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise LidError(f"needs {error.name}", where="lid serve", mend=INSTALL) from None
    from lid_toolkit.inference.decision import decider
    from lid_toolkit.serve.app import make_app
    from lid_toolkit.serve.server import LOOPBACK, address_of, listen, run_server

    listening = listen(options.host, options.port)
    lid = open_identifier(options)
    policy = chosen_policy(options, lid.policy)
    decider(policy, lid.languages)  # refuses languages that the model lacks
    hosts = (*LOOPBACK, *options.allowed_hosts)
    app = make_app(lid, policy, name_of(options.model), limits_of(options), hosts)
    sys.stderr.write(f"lid serve: open {address_of(listening)} (Ctrl-C stops the server)\n")
    sys.stderr.flush()
    run_server(app, listening)


def name_of(model: str) -> str:
    """Return what the page calls a model: its folder or file, or the folder of a file of weights."""
    path = PurePath(model)
    return (path.parent.name if path.suffix == ".pth" else "") or path.name


def port_number(text: str) -> int:
    """Parse a number of a port; 0 for any free one."""
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {HIGHEST_PORT}")
    return int(text)


def limits_of(options: argparse.Namespace) -> Limits:
    """Return the limits that the options describe."""
    return Limits(
        max_bytes=options.max_mb << 20,
        max_seconds=options.max_seconds,
        workers=options.workers,
        waiting=options.waiting,
    )


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Serve a page and a JSON service that identify languages.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; the default: this machine only"
    )
    parser.add_argument(
        "--port", type=port_number, default=8000, help="port to listen on; 0 for any free one"
    )
    parser.add_argument(
        "--allowed_hosts",
        type=names,
        default=(),
        metavar="LIST",
        help="further names by which this machine may be addressed, separated by commas; * for any",
    )
    add_model(parser)
    add_policy(parser)
    group = parser.add_argument_group("limits")
    group.add_argument("--max_mb", type=positive_int, default=LIMITS.max_mb, help="largest upload in MiB")
    group.add_argument(
        "--max_seconds", type=positive_int, default=int(LIMITS.max_seconds), help="longest recording"
    )
    group.add_argument(
        "--workers", type=positive_int, default=LIMITS.workers, help="recordings identified at the same time"
    )
    group.add_argument(
        "--waiting", type=positive_int, default=LIMITS.waiting, help="requests that may wait for a worker"
    )
    return parser
