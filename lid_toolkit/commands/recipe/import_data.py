"""Import your own recordings into a checked data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, fraction
from lid_toolkit.evaluation.data_report import describe, text_of
from lid_toolkit.prepare.columns import parse_columns
from lid_toolkit.prepare.importer import import_data
from lid_toolkit.prepare.manifest import read_folder, read_manifest


def main(arguments: Sequence[str]) -> None:
    """Parse the options, import the recordings, and print a summary."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.manifest and not options.speakers:
        parser.error("--speakers belongs to --folder")
    columns = parse_columns(options.columns)
    items = (
        read_folder(options.folder, options.speakers, columns)
        if options.folder
        else read_manifest(options.manifest, columns)
    )
    imported = import_data(
        items, options.output_dir, options.iso639, options.max_failed, options.folder or options.manifest
    )
    written = len(imported.utt2lang)
    print(f"{imported.rows} utterances read, {written} imported, {imported.rows - written} left out")
    print(text_of(describe(options.output_dir.name, imported.utt2lang, imported.seconds_u)), end="")


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser("Import your own recordings into a checked data directory (see docs/own_data.md).")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--folder",
        type=Path,
        help="folder with LANGUAGE/… or LANGUAGE/SPEAKER/…, an audiofolder, or Common Voice",
    )
    source.add_argument(
        "--manifest",
        type=Path,
        help=".csv, .tsv or .jsonl with path and language; optionally speaker, start, end, id",
    )
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="data directory to write, e.g. data/train_mine"
    )
    parser.add_argument(
        "--columns", default="", help="columns with other names, e.g. path=recording,language=lg,speaker=who"
    )
    parser.add_argument(
        "--speakers",
        type=boolean,
        default=True,
        help="with --folder: the folders below a language's are speakers",
    )
    parser.add_argument(
        "--iso639",
        type=boolean,
        default=True,
        help="map labels to ISO 639-3 codes; false: keep them as they are",
    )
    parser.add_argument(
        "--max_failed", type=fraction, default=0.01, help="fraction of utterances that may be unusable"
    )
    return parser
