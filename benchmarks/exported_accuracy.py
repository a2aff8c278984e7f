#!/usr/bin/env python3
"""Compare a trained model with its exports in float32 and int8 on a data directory; prints a table.

    benchmarks/exported_accuracy.py MODEL DATA_DIR [--speech TRAINING_SPEECH] [--window 1 2 3] [--json FILE]

For each export: size, accuracy with its 95 % interval, and how far the answers agree with those of the
model in PyTorch: equal answers, equal answers among those with a probability of 0.9 or more, with the 95 %
interval of their share, the largest difference of a probability, and the lowest cosine of embeddings. Static
int8 finds its ranges on ``--speech``. With ``--window``, recordings are cut into windows of so many seconds,
for more answers, once for each of the lengths; those of one recording are not independent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lid_toolkit.cli import OptionParser, run
from lid_toolkit.evaluation.intervals import wilson
from lid_toolkit.files import write_whole


def main(arguments: Sequence[str]) -> None:
    """Export, identify all recordings, and print each row at once."""
    from lid_toolkit import LanguageIdentifier
    from lid_toolkit.datadir.tables.table import read_table
    from lid_toolkit.package.onnx_check import agreement

    parser = OptionParser(__doc__ or "")
    parser.add_argument("model", metavar="MODEL", help="experiment directory or model file")
    parser.add_argument(
        "data", metavar="DATA_DIR", type=Path, help="data directory with wav.scp and utt2lang"
    )
    parser.add_argument("--speech", help="recordings for static int8, none of them of DATA_DIR")
    parser.add_argument(
        "--window", type=float, nargs="+", default=(), help="seconds; default: whole recordings"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/exported_accuracy.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    recordings, labels = (dict(read_table(options.data / name)) for name in ("wav.scp", "utt2lang"))
    paths, truth = list(recordings.values()), [labels[key] for key in recordings]
    sources = {"torch": Path(options.model)}
    with tempfile.TemporaryDirectory() as name:
        sources |= exported(Path(name), options.model, options.speech)
        rows: list[dict[str, Any]] = []
        first: tuple[Any, Any] | None = None
        for what, source in sources.items():
            lid = LanguageIdentifier.from_pretrained(source, "cpu", threads=1)
            parts = [windows(wave, lid.rate, options.window) for wave in waves(paths, lid.rate)]
            answers = [lid.load().compute(part, 8) for part in parts]
            repeated = [label for label, part in zip(truth, parts, strict=True) for _ in part]
            pair = np.concatenate([one[0] for one in answers]), np.concatenate([one[1] for one in answers])
            first = first or pair
            right = sum(lid.languages[k] == t for k, t in zip(pair[0].argmax(1), repeated, strict=True))
            size = source.stat().st_size / 1e6 if source.is_file() else None
            found = asdict(agreement(*first, *pair))
            rows.append({"what": what, "mb": size, **wilson(right, len(repeated)).as_dict(), **found})
            print(line(rows[-1]), flush=True)
    with write_whole(options.json) as stream:
        json.dump({"rows": rows}, stream, indent=1)


def exported(folder: Path, model: str, speech: str | None) -> dict[str, Path]:
    """Return the exported files by what they are called; the graph is made only once."""
    from lid_toolkit.commands.export import make_parser, speech_of
    from lid_toolkit.inference.locate import open_model
    from lid_toolkit.package.onnx_format import read_record
    from lid_toolkit.package.onnx_int8 import quantize

    plain = folder / "float32.onnx"
    command = [sys.executable, "-m", "lid_toolkit.commands", "export", "--format", "onnx", model, str(plain)]
    subprocess.run(command, check=True)
    found = {"float32": plain}
    given = [model, "x.onnx", "--format", "onnx", *(["--speech", speech] if speech else [])]
    calibration = speech_of(make_parser().parse_args(given), open_model(model))
    for kind in ("dynamic", "static") if speech else ("dynamic",):
        found[f"int8 {kind}"] = folder / f"{kind}.onnx"
        shutil.copy(plain, found[f"int8 {kind}"])
        quantize(found[f"int8 {kind}"], read_record(plain), kind, calibration)
    return found


def waves(paths: Sequence[str], rate: int) -> Any:
    """Yield the recordings as waveforms (samples,)."""
    from lid_toolkit.audio.resample import resample
    from lid_toolkit.inference.speech import opened

    for path in paths:
        with opened(path, rate, path) as samples:
            wave = resample(samples.read(0, samples.length), samples.rate, rate)
        yield np.ascontiguousarray(wave)


def windows(wave: Any, rate: int, lengths: Sequence[float]) -> list[Any]:
    """Return the whole windows of a waveform of each length; itself if there are none."""
    sizes = [round(seconds * rate) for seconds in lengths]
    starts = [(begin, size) for size in sizes for begin in range(0, len(wave) - size + 1, size)]
    return [wave[begin : begin + size] for begin, size in starts] or [wave]


def line(row: dict[str, Any]) -> str:
    size = "" if row["mb"] is None else f"{row['mb']:.1f} MB"
    accuracy = f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    share = wilson(row["confident_equal"], row["confident"]) if row["confident"] else None
    interval = "" if share is None else f" [{100 * share.low:.2f}, {100 * share.high:.2f}] %"
    confident = f"{row['confident_equal']}/{row['confident']}{interval}"
    return (
        f"{row['what']:14s}{size:>9s}  {accuracy:22s}equal {row['equal']}/{row['utterances']}, confident "
        f"{confident}, difference {row['difference']:.2g}, cosine {row['cosine']:.6f}"
    )


if __name__ == "__main__":
    run(main)
