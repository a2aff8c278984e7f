#!/usr/bin/env python3
"""Speed of reading and augmenting, and memory of a worker for large corpora; prints tables, writes JSON.

    benchmarks/loader.py --config conf/mini_ecapa.yaml --utterances 2500000

The corpus is synthetic: tables of the given size whose rows share a few recordings of 20 s in an archive.
Speeds are audio-seconds per second of CPU time on one core; ``benchmarks/training.py`` has those of
training steps. The memory of a worker is its private memory, which it shares with no other process;
it is measured with the batches and augmentations of the configuration. Distortions alone are measured by
``benchmarks/augmentation.py``.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lid_toolkit.audio.writer import AUDIO_FORMATS, audio_writer, encode, quantise
from lid_toolkit.augment.distortions import random_room
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.data.loader import MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.utterances import Utterances
from lid_toolkit.datadir.tables.table import parse_table
from lid_toolkit.files import write_whole
from lid_toolkit.processes import keep_freed_memory
from lid_toolkit.training.build_sampler import build_sampler
from lid_toolkit.training.config import TrainConfig, load_config

RATE = 16000
RECORDING_S = 20
RECORDINGS = 64
ROOM_DECAY_S = 0.5
LANGUAGES = 107
SMALL_CORPUS = 25_000
MEASURED_AFTER = (5, 30)
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "no augmentation": {},
    "recorded noise": {"noise_scp": "{scp}"},
    "babble of 4 to 7": {"noise_info": [[1.0, "{scp}", [4, 7], [13, 20]]]},
    "recorded rooms": {"rir_scp": "{rooms}"},
    "made-up noise": {"noise_apply_prob": 1.0},
    "simulated rooms": {"rir_apply_prob": 1.0},
    "telephone lines": {"telephone_apply_prob": 1.0},
    "equalizer and level": {"equalizer_apply_prob": 1.0, "volume_apply_prob": 1.0},
    "voices": {"voice_apply_prob": 1.0},
}


def main(arguments: Sequence[str]) -> None:
    """Measure speed, then memory."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training YAML")
    parser.add_argument("--utterances", type=positive_int, default=2_500_000, help="size of the large corpus")
    parser.add_argument("--audio_format", choices=AUDIO_FORMATS, default="wav.ark", help="audio format")
    parser.add_argument("--batches", type=positive_int, default=5, help="batches measured for each speed")
    parser.add_argument("--json", type=Path, default=Path("exp/benchmarks/loader.json"), help="output file")
    options, overrides = parser.parse_known_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers that read
    config = load_config(options.config, overrides)
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        refs = write_recordings(Path(scratch), options.audio_format)
        speeds = measure_speeds(config, corpus(refs, SMALL_CORPUS), scratch, options.batches)
        memory = [measure_memory(config, corpus(refs, size)) for size in (SMALL_CORPUS, options.utterances)]
    figures = {"config": str(options.config), "audio_format": options.audio_format}
    with write_whole(options.json) as stream:
        json.dump({**figures, "audio_s_per_s": speeds, "memory": memory}, stream, indent=1)


def write_recordings(directory: Path, audio_format: str) -> list[str]:
    """Write noise of varying level, room responses and a list of each; return the references of the noise."""
    rng = np.random.default_rng(0)
    swell = 0.1 * np.abs(np.sin(np.arange(RECORDING_S * RATE) * (3 * np.pi / RATE)))
    noises = [(swell * rng.standard_normal(len(swell))).astype(np.float32) for _ in range(RECORDINGS)]
    rooms = [random_room(RATE, ROOM_DECAY_S, 3.0, rng) / 2 for _ in range(RECORDINGS)]
    written = {}
    for name, waves in (("sounds", noises), ("rooms", rooms)):
        with audio_writer(directory / f"{name}.{audio_format}", audio_format) as write:
            kind = audio_format.partition(".")[0]
            refs = [write(f"{n:02d}", encode(quantise(wave)[0], RATE, kind)) for n, wave in enumerate(waves)]
        written[name] = refs
        (directory / f"{name}.scp").write_text("".join(f"{n:02d} {ref}\n" for n, ref in enumerate(refs)))
    return written["sounds"]


def corpus(refs: Sequence[str], utterances: int) -> Utterances:
    rng = np.random.default_rng(1)
    text = "".join(f"utterance-{u:09d} {refs[u % len(refs)]}\n" for u in range(utterances))
    lengths = (np.clip(rng.lognormal(np.log(8), 0.6, utterances), 1, RECORDING_S) * RATE).astype(np.int64)
    labels = rng.integers(LANGUAGES, size=utterances, dtype=np.int32)
    return Utterances(parse_table(text.encode(), "wav.scp"), labels, lengths)


def measure_speeds(config: TrainConfig, utterances: Utterances, lists: str, count: int) -> dict[str, float]:
    """Print and return audio-seconds per second of CPU time for each augmentation alone."""
    conf = config.preprocessor_conf
    batches = build_sampler(config.model_copy(update={"num_iters_per_epoch": count}), utterances).epoch(1)
    plain = {"fix_duration": conf.fix_duration, "target_duration": conf.target_duration}
    readers = {}
    for name, keys in AUGMENTATIONS.items():
        text = json.dumps({**plain, **keys})
        text = text.replace("{scp}", f"{lists}/sounds.scp").replace("{rooms}", f"{lists}/rooms.scp")
        readers[name] = PreprocessorConf.model_validate_json(text)
    readers["those of the configuration"] = conf.model_copy(update={"augment_on": "readers"})
    readers["the readers' part, on the device"] = conf.model_copy(update={"augment_on": "device"})
    speeds: dict[str, float] = {}
    for name, settings in readers.items():
        reader = MinibatchReader(utterances, batches, settings, RATE)
        reader[0]
        started = time.process_time()
        minibatches = [reader[number] for number in range(count)]
        seconds = time.process_time() - started
        audio_s = sum(int(minibatch.lengths_b.sum()) for minibatch in minibatches) / RATE
        speeds[name] = audio_s / seconds
        print(f"reader, {name:28s} {speeds[name]:9.0f} audio-s/s", flush=True)
    return speeds


def measure_memory(config: TrainConfig, utterances: Utterances) -> dict[str, float]:
    """Print and return the private memory of a worker in megabytes, early and late in the epoch."""
    started = time.process_time()
    batches = build_sampler(config.model_copy(update={"num_iters_per_epoch": None}), utterances).epoch(1)
    seconds = time.process_time() - started
    reader = MinibatchReader(utterances, batches, config.preprocessor_conf, RATE)
    private: list[float] = []
    loaded = iterate(reader, 0, workers=2)
    for number, _ in enumerate(loaded):
        if number in MEASURED_AFTER:
            workers = [child.pid for child in multiprocessing.active_children() if child.pid]
            private.append(max(private_megabytes(pid) for pid in workers))
        if number == MEASURED_AFTER[-1]:
            break
    del loaded
    print(
        f"{len(utterances):9d} utterances: {len(batches)} batches planned in {seconds:.2f} s; "
        f"a worker's own memory {private[0]:.0f} MB after {MEASURED_AFTER[0]} batches, "
        f"{private[-1]:.0f} MB after {MEASURED_AFTER[-1]}",
        flush=True,
    )
    return {"utterances": len(utterances), "early_mb": private[0], "late_mb": private[-1], "plan_s": seconds}


def private_megabytes(pid: int) -> float:
    """Return the private memory of a process (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024


if __name__ == "__main__":
    run(main)
