"""The ``lid`` command: ``lid identify --model M a.wav b.flac``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from lid_toolkit.cli import USER_ERROR, OptionParser, positive_int, run
from lid_toolkit.cores import count_cores


def main() -> NoReturn:
    """Run the command line."""
    run(identify)


def identify(arguments: Sequence[str]) -> None:
    """Print a line for each recording: path, languages with their probabilities, and length in seconds.

    Where no language is named, the line has the status and the reason instead. For a recording that cannot
    be read, an error line is printed. The others are still identified; the exit code is then 2.
    """
    parser = OptionParser("Identify the language of recordings.")
    parser.add_argument("action", choices=("identify",))
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="RECORDING",
        help="file (wav, flac, ogg, mp3, …), or pipe such as /dev/stdin",
    )
    parser.add_argument(
        "--model",
        required=True,
        help="experiment directory, model file, packed model (also ESPnet's), or user/repo on the Hub",
    )
    parser.add_argument(
        "--top_k", type=positive_int, default=1, help="number of languages to print, most probable first"
    )
    parser.add_argument("--languages", help="labels to choose from, separated by commas, such as eng,fra")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … or mps")
    parser.add_argument(
        "--dtype", default="float32", help="number format: float32, bfloat16, float16 or auto"
    )
    parser.add_argument("--threads", type=positive_int, help="number of threads; default: one for each core")
    parser.add_argument("--vad", default="auto", help="detector of speech: auto, silero, energy or none")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each recording")
    options = parser.parse_args(arguments)

    from lid_toolkit.inference.identifier import LanguageIdentifier

    threads = options.threads or count_cores()
    lid = LanguageIdentifier.from_pretrained(
        options.model, options.device, threads=threads, dtype=options.dtype
    )
    languages = options.languages.split(",") if options.languages else None
    failures = 0
    for recording in options.recordings:
        answer = lid.identify(recording, languages=languages, top_k=options.top_k, vad=options.vad)
        if answer.status == "failed":
            sys.stderr.write(f"error: {recording}: {answer.reason}\n")
            failures += 1
        elif options.json:
            line = {"path": recording, **answer.as_dict()}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            scores = " ".join(f"{label} {probability:.3f}" for label, probability in answer.scores.items())
            what = scores if answer.status == "ok" else f"{answer.status}: {answer.reason}"
            print(f"{recording}\t{what}\t{answer.duration:.2f} s", flush=True)
    if failures:
        sys.exit(USER_ERROR)
