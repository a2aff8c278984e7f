"""``lid segment``: where the language of a recording changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lid_toolkit.cli import OptionParser, non_negative
from lid_toolkit.commands.identify import VADS
from lid_toolkit.commands.model import add_batch_size, add_model, open_identifier
from lid_toolkit.commands.policy import add_policy, chosen_policy
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.inference.outputs.formats import rttm_lines
from lid_toolkit.inference.prediction import english_name
from lid_toolkit.inference.segmentation import WINDOW_S, Segmenting

PICTURES = (".png", ".svg")


def main(arguments: Sequence[str]) -> None:
    """Print or write the segments of a recording; draw them if asked for.

    Raises:
        LidError: an option is wrong, the model cannot be loaded, or the recording cannot be read.
    """
    options = make_parser().parse_args(arguments)
    form = form_of(options.output, sys.stdout.isatty())
    if options.picture is not None and options.picture.suffix.lower() not in PICTURES:
        raise LidError("unknown format", where=options.picture, mend=f"use {' or '.join(PICTURES)}")
    settings = Segmenting(options.penalty, options.min_duration, options.max_pause)
    lid = open_identifier(options)
    record = lid.identify(
        options.recording,
        batch_size=options.batch_size,
        policy=chosen_policy(options, lid.policy),
        window=options.window,
        hop=options.hop,
        vad=options.vad,
        segments=settings,
    )
    if record.status == "failed":
        raise LidError(str(record.reason), where=options.recording)
    if not record.segments:
        sys.stderr.write(f"{options.recording}: no segments: {record.reason}\n")
    if options.picture is not None:
        from lid_toolkit.evaluation.timeline_picture import timeline_picture  # imports matplotlib

        name = Path(options.recording).name
        image = timeline_picture(name, record.duration or 0.0, record.segments, options.picture.suffix[1:])
        with write_whole(options.picture, "wb") as picture:
            picture.write(image)
    text = form({"id": options.recording, **record.as_dict()})
    if options.output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        with write_whole(options.output) as stream:
            stream.write(text)


def json_text(row: Mapping[str, Any]) -> str:
    """Return the record as an indented JSON object."""
    return json.dumps(row, ensure_ascii=False, indent=1) + "\n"


def tsv_text(row: Mapping[str, Any]) -> str:
    """Return a table of the segments: start, end, language, its English name, score."""
    lines = ["start\tend\tlanguage\tname\tscore\n"]
    for part in row["segments"]:
        name = english_name(part["language"]) or ""
        times = f"{part['start']:.2f}\t{part['end']:.2f}"
        lines.append(f"{times}\t{part['language']}\t{name}\t{part['score']:.4f}\n")
    return "".join(lines)


FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ".json": json_text,
    ".tsv": tsv_text,
    ".rttm": rttm_lines,
}


def form_of(output: Path | None, is_terminal: bool) -> Callable[[Mapping[str, Any]], str]:
    """Return what makes the text of a record; raise LidError for a file of an unknown format."""
    suffix = (".tsv" if is_terminal else ".json") if output is None else output.suffix.lower()
    if suffix not in FORMS:
        raise LidError(f"unknown format '{suffix}'", where=output, mend=f"use {', '.join(FORMS)}")
    return FORMS[suffix]


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    usual = Segmenting()
    parser = OptionParser("Find where the language of a recording changes.")
    parser.add_argument("recording", metavar="FILE", help="recording of any supported format")
    parser.add_argument(
        "--output",
        type=Path,
        help="file to write: .json, .tsv or .rttm; by default, a table is printed on a terminal, else JSON",
    )
    parser.add_argument("--picture", type=Path, help="timeline to draw: .png or .svg")
    add_model(parser)
    add_batch_size(parser)
    add_policy(parser)
    parser.add_argument("--window", type=non_negative, default=WINDOW_S, help="seconds of a window")
    parser.add_argument(
        "--hop", type=non_negative, help="seconds between windows; default: a quarter of a window"
    )
    parser.add_argument(
        "--penalty", type=non_negative, default=usual.penalty, help="what a change costs, in nats per window"
    )
    parser.add_argument(
        "--min_duration",
        type=non_negative,
        default=usual.min_duration,
        help="shortest time in one language, in seconds of speech",
    )
    parser.add_argument(
        "--max_pause",
        type=non_negative,
        default=usual.max_pause,
        help="a longer time without speech, in seconds, ends a segment",
    )
    parser.add_argument("--vad", choices=VADS, default="auto", help="detector of speech")
    return parser
