"""``lid stream``: the language of audio that arrives on standard input."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lid_toolkit.cli import OptionParser, non_negative, positive_int
from lid_toolkit.commands.identify import VADS
from lid_toolkit.commands.model import add_model, open_identifier
from lid_toolkit.commands.policy import add_policy, chosen_policy
from lid_toolkit.errors import LidError
from lid_toolkit.inference.outputs.lines import print_json
from lid_toolkit.inference.stream import Tracking

MOST_BYTES = 65536
ENDING = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    """Print a line of JSON for each update; the last one after the end of the input, Ctrl-C or SIGTERM.

    Raises:
        LidError: an option is wrong, the model cannot be loaded, or standard input is a terminal.
    """
    options = make_parser().parse_args(arguments)
    if sys.stdin.isatty():
        raise LidError("there is no audio", where="standard input", mend="pipe 16-bit PCM into the command")
    tracking = Tracking(options.window, options.hop, options.penalty, options.debounce)
    lid = open_identifier(options)
    stream = lid.stream(
        options.rate,
        top_k=options.top_k,
        policy=chosen_policy(options, lid.policy),
        vad=options.vad,
        tracking=tracking,
    )
    for update in stream.follow(PcmReader(sys.stdin.buffer).chunks()):
        if update.changed or update.is_last or not options.changes:
            print_json(update.as_dict())


class PcmReader:
    """Reads 16-bit little-endian samples as they arrive, until the input ends or a signal asks to stop.

    While it waits for input, the handler of the signal raises an exception, because Python would begin to
    wait again. At other times it only notes the signal, so that no update is lost.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._is_waiting = self._is_stopped = False

    def chunks(self) -> Iterator[npt.NDArray[np.int16]]:
        """Yield samples, (samples,). Half a sample at the end is left out."""
        before = {number: signal.signal(number, self._stop) for number in ENDING}
        try:
            rest = b""
            while content := self._read():
                content = rest + content
                whole = len(content) - len(content) % 2
                rest = content[whole:]
                yield np.frombuffer(content[:whole], dtype="<i2")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _read(self) -> bytes:
        try:
            self._is_waiting = True
            if self._is_stopped:
                return b""
            return self._source.read1(MOST_BYTES)  # type: ignore[attr-defined,no-any-return]
        except InterruptedError:
            return b""
        finally:
            self._is_waiting = False

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal calls
        self._is_stopped = True
        if self._is_waiting:
            raise InterruptedError


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    usual = Tracking()
    parser = OptionParser("Follow the language of 16-bit PCM (mono, little-endian) on standard input.")
    parser.add_argument("--rate", type=positive_int, help="samples per second; default: the model's")
    parser.add_argument("--changes", action="store_true", help="print only changes and the end")
    add_model(parser)
    add_policy(parser)
    parser.add_argument("--top_k", type=positive_int, default=3, help="number of languages with their scores")
    parser.add_argument("--window", type=non_negative, default=usual.window, help="seconds of a window")
    parser.add_argument(
        "--hop", type=non_negative, help="seconds between updates; default: a quarter of a window"
    )
    parser.add_argument(
        "--penalty", type=non_negative, default=usual.penalty, help="evidence that a change needs, in nats"
    )
    parser.add_argument(
        "--debounce",
        type=non_negative,
        default=usual.debounce,
        help="seconds of speech that a change must last to be told",
    )
    parser.add_argument("--vad", choices=VADS, default="auto", help="detector of speech")
    return parser
