#!/usr/bin/env python3
"""Renew the table of ``benchmarks/README.md``: our figures beside those of others, the floor and the aim.

    benchmarks/table.py --espnet_python espnet/bin/python --speechbrain_python speechbrain/bin/python
    benchmarks/table.py --quick             # small sizes: do the benchmarks run?
    benchmarks/table.py --only samplers     # measure one again; the other rows keep their last figures
    benchmarks/table.py --only              # measure nothing, write the table from the last figures

A benchmark is a script that writes JSON to ``exp/benchmarks/``; ``SOURCES`` has their commands. A row of
``ROWS`` names a source and, for each column, the keys of a number in its JSON. A benchmark that fails,
because its data or its peer are not there, leaves its rows as they are.
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import ROOT

from lid_toolkit.cli import OptionParser, run
from lid_toolkit.files import write_whole

FIGURES = ROOT / "exp" / "benchmarks"
PAGE = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- table: written by benchmarks/table.py -->", "<!-- end of table -->"
MISSING = "not measured"
HEADS = ("issue", "work", "unit", "ours", "peer", "floor", "aim")


@dataclass(frozen=True)
class Source:
    """A benchmark: its command, what ``--quick`` adds, and the peers that it needs, as options."""

    command: str
    quick: str = ""
    peers: tuple[str, ...] = ()


PROMPTS = "--train_dir dump/prompts/raw/train_prompts --valid_dir dump/prompts/raw/dev_prompts"
SOURCES = {
    "identification": Source("identification.py", "--recordings 3", ("espnet_python", "speechbrain_python")),
    "start_up": Source("start_up.py"),
    "merging": Source("data.py merging --utterances 1600000", "--utterances 20000"),
    "small_scores": Source("data.py merging --utterances 10700", "--utterances 2140"),
    "augmentation": Source("augmentation.py"),
    "gpu": Source("gpu.py --count"),
    "models": Source("models.py --batch_size 8 --hows float32,bfloat16", "--channels 64 --seconds 1"),
    "espnet_training": Source(
        f"espnet_training.py {PROMPTS} --stats_dir exp/prompts/lid_stats_16k --updates 8 --rounds 1",
        "--updates 2",
        ("espnet_python",),
    ),
    "formatting": Source("formatting.py --data_dir data/train_prompts", "--utterances 20"),
    "loader": Source("loader.py --config conf/voxlingua107_ecapa.yaml", "--utterances 10000"),
    "samplers": Source("samplers.py", "--utterances 10000"),
}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    ``ours``, ``peer`` and ``floor`` lead to numbers in the source's JSON: keys, joined by ``/``.
    """

    item: str
    work: str
    unit: str
    source: str
    ours: str
    peer: str = ""
    floor: str = ""
    aim: str = ""


def beside_espnet(batch_size: int, figure: str) -> str:
    """Return the keys of ESPnet's figure; its batches of 32 are not measured."""
    return "" if batch_size > 8 else f"ESPnet, batches of {batch_size}/{figure}"


CPU_S, MEMORY, LOOP = "CPU s", "MiB", "audio-s per CPU s"
WHOLE, BATCHES = "ECAPA-512, whole process, batch", "ECAPA-512, loop, batch"
ROWS = (
    Row("1", "batch 1, 2 threads, busy machine: waiting; spinning; 1 thread", "s", "identification",
        "batches of 1, 2 threads that wait/seconds", "batches of 1, 2 threads that spin/seconds",
        "batches of 1/seconds", "≤ floor"),
    Row("2", "import LanguageIdentifier; floor: torch", CPU_S, "identification",
        "import LanguageIdentifier/cpu_seconds", "", "import torch/cpu_seconds", "≤ 1.15 x floor"),
    Row("3", "`lid identify`, one file of 2 s; floor: torch", CPU_S, "identification",
        "lid identify, one recording of 2 s/cpu_seconds", "", "import torch/cpu_seconds", "≤ floor + 1"),
    Row("4", "`./run.sh` of `mini` again, all current", CPU_S, "start_up", "run.sh again/cpu_seconds",
        aim="≤ 6"),
    Row("5", "stage 6 of 480 utterances; floor: torch", CPU_S, "start_up", "stage 6/cpu_seconds", "",
        "import torch/cpu_seconds", "torch once"),
    Row("6", "324 million parameters loaded; floor: torch", CPU_S, "start_up",
        "324 million parameters/cpu_seconds", "", "import torch/cpu_seconds"),
    *(Row("7", f"{WHOLE} {size}; ESPnet", CPU_S, "identification", f"batches of {size}/cpu_seconds",
          beside_espnet(size, "cpu_seconds"), "import torch/cpu_seconds", aim)
      for size, aim in ((1, "peer / 3.5"), (8, "peer / 4.5"), (32, "batch 8"))),
    *(Row("7", f"{WHOLE} {size}: memory; floor: torch", MEMORY, "identification",
          f"batches of {size}/peak_mib", beside_espnet(size, "peak_mib"), "import torch/peak_mib",
          "≤ 700") for size in (1, 8, 32)),
    *(Row("8", f"{BATCHES} {size}; ESPnet", LOOP, "identification", f"batches of {size}/loop",
          beside_espnet(size, "loop"), "", aim)
      for size, aim in ((1, "1.45 x peer"), (8, "2.5 x peer"), (32, "batch 8"))),
    Row("8", f"{BATCHES} 8, sorted; ESPnet", LOOP, "identification", "batches of 8/loop",
        "ESPnet, batches of 8, sorted/loop", "", "1.65 x peer"),
    *(Row("9", f"ECAPA-1024, loop, batch {size}; SpeechBrain", LOOP, "identification",
          f"SpeechBrain's model, batches of {size}/loop", f"SpeechBrain, batches of {size}/loop", "", aim)
      for size, aim in ((1, "1.5 x peer"), (8, "2 x peer"))),
    Row("10", "ECAPA-512, forward pass, bfloat16; floor: float32", LOOP, "models", "rows/5/audio_s_s", "",
        "rows/1/audio_s_s", "2 x floor where native"),
    Row("11", "training, whole utterances; ESPnet", "audio-s/s", "espnet_training", "0/float32", "0/espnet",
        "", "2.5 x peer"),
    Row("11", "training, 3 s crops; ESPnet", "audio-s/s", "espnet_training", "1/float32", "1/espnet"),
    Row("12", "reader of a training, no augmentation", LOOP, "loader", "audio_s_per_s/no augmentation"),
    Row("12", "reader of a training, `voxlingua107_ecapa`", LOOP, "loader",
        "audio_s_per_s/those of the configuration"),
    *(Row("12", f"a reader's time: {name}", LOOP, "augmentation", f"reader/{name}", "", "", aim)
      for name, aim in (("voice, pitch 1.15", "≥ 400"), ("simulated room, 0.5 s", ""), ("recorded noise", ""),
                        ("synthesised noise", ""), ("equalizer", ""))),
    Row("13", "scores of 10,700 answers, 107 languages", CPU_S, "small_scores",
        "stage 7: score/cpu_seconds", "", "", "≤ 3 and torch's start"),
    *(Row("13", f"scores of 1.6 million answers, 107 languages{how}", CPU_S, "merging", f"{key}/cpu_seconds",
          "", "", aim)
      for how, key, aim in (("", "stage 7: score", "≤ 60"),
                            (", in clusters of 10", "score with clusters", "≤ 60"),
                            ("; counts alone", "score without scores", "≤ 20"))),
    Row("14", "merge of 1.6 million answers and embeddings; floor: copy", CPU_S, "merging",
        "stage 6: merge/cpu_seconds", "", "copy of the parts/cpu_seconds", "≤ 15"),
    Row("14", "its memory", MEMORY, "merging", "stage 6: merge/peak_mib", "", "copy of the parts/peak_mib",
        "≤ 1,000"),
    Row("15", "stage 3, `wav.ark`; floor: a loop that writes `wav`", "s", "formatting", "wav.ark/seconds", "",
        "plain loop, wav/seconds"),
    Row("16", "own memory of a reader, 2.5 million utterances; floor: 25,000", "MB", "loader",
        "memory/1/late_mb", "", "memory/0/late_mb", "floor"),
    Row("17", "plan an epoch of 2.5 million utterances, catpow", CPU_S, "samplers", "rows/0/epoch_s",
        "", "", "keep"),
    *(Row("GPU", f"an update of {shape}, one batch", kind, "gpu", f"{shape}/update of 1/{kind}", aim="fewer")
      for shape in ("ecapa-512", "mms-1b") for kind in ("kernels", "blocking copies", "host reads")),
)  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Run the benchmarks and write the table."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--only", nargs="*", choices=tuple(SOURCES), help="benchmarks to run; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes; the page is not changed")
    parser.add_argument("--espnet_python", type=Path, help="Python with ESPnet installed")
    parser.add_argument("--speechbrain_python", type=Path, help="Python with SpeechBrain installed")
    options = parser.parse_args(arguments)
    for name in SOURCES if options.only is None else options.only:
        measure(name, options)
    table = render(FIGURES / "quick" if options.quick else FIGURES)
    print(table)
    if not options.quick:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        with write_whole(PAGE) as stream:
            stream.write(f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}")


def measure(name: str, options: Any) -> None:
    """Run a benchmark and note the processor, the date and the command beside its figures."""
    source, folder = SOURCES[name], FIGURES / "quick" if options.quick else FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    words = f"{source.command} {source.quick if options.quick else ''}".split()
    noted = f"benchmarks/{' '.join(words)}"
    for peer in source.peers:
        if getattr(options, peer):
            words += [f"--{peer}", str(getattr(options, peer).absolute())]
            noted += f" --{peer} ..."
    print(f"== {noted}", flush=True)
    script, *rest = words
    command = [sys.executable, str(ROOT / "benchmarks" / script), *rest]
    if subprocess.run([*command, "--json", str(folder / f"{name}.json")], check=False).returncode:
        print(f"{name} failed: its rows keep their last figures", flush=True)
        return
    note = f"`{noted}`, {processor()}, {datetime.date.today().isoformat()}"
    (folder / f"{name}.note").write_text(note, encoding="utf-8")


def processor() -> str:
    """Return the processor's name, and its number format for fast bfloat16 if it has one."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [row.partition(":")[2].strip() for row in text.splitlines() if row.startswith("model name")]
    wide = "AVX-512 bfloat16" if "avx512_bf16" in text else "AVX-512" if "avx512f" in text else "AVX2"
    return f"{names[0]} with {wide}" if names else platform.processor() or platform.machine()


def render(folder: Path) -> str:
    """Return the table and, below it, how each benchmark was run."""
    figures = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    lines = ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
    for row in ROWS:
        found = figures.get(row.source, {})
        ours, floor = cell(found, row.ours), cell(found, row.floor)
        peer = cell(found, row.peer, MISSING if ours == MISSING else "not installed")
        lines.append("| " + " | ".join((row.item, row.work, row.unit, ours, peer, floor, row.aim)) + " |")
    notes = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.note"))]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def cell(found: Any, keys: str, absent: str = MISSING) -> str:
    """Return the number that the keys lead to, with three digits; nothing without keys."""
    if not keys:
        return ""
    for key in keys.split("/"):
        try:
            found = found[int(key) if isinstance(found, list) else key]
        except (KeyError, IndexError):
            return absent
    return f"{found:.0f}" if found >= 100 else f"{found:.3g}"


if __name__ == "__main__":
    run(main)
