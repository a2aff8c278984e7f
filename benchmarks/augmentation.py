#!/usr/bin/env python3
"""Speed of each distortion alone and of batches on a device; prints a table and writes JSON.

    benchmarks/augmentation.py --seconds 3 [--device cuda]

Speeds are audio-seconds per second: of CPU time on one core for the readers' functions and for batches on
the CPU, and of wall time for batches on a GPU. Batches have 10 minutes of audio, of which every utterance
has the distortion. ``benchmarks/loader.py`` measures whole readers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lid_toolkit.augment import distortions
from lid_toolkit.augment.drawn import Drawn, Noise, distorted
from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.data.device_augment import Later, collate, distort, moved
from lid_toolkit.files import write_whole
from lid_toolkit.processes import keep_freed_memory

RATE = 16000
REPEATS = 20
BATCH_S = 600
VOICES = ((1.15, 0.95, 1.05), (0.85, 1.08, 0.92))


def main(arguments: Sequence[str]) -> None:
    """Measure all distortions."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--seconds", type=positive_int, default=3, help="length of an utterance")
    parser.add_argument("--device", default="cpu", help="where batches are distorted: cpu or cuda")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/augmentation.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers that read
    samples = options.seconds * RATE
    with threadpool_limits(1):
        readers = {name: of_reader(draw, samples) for name, draw in draws(samples).items()}
        device = {
            name: of_batch(draw, samples, torch.device(options.device))
            for name, draw in draws(samples).items()
            if not name.startswith(("voice", "telephone"))
        }
    print(f"{'audio-s/s':28s} {'reader':>8s} {'batch':>8s}")
    for name, speed in readers.items():
        batch = f"{device[name]:8.0f}" if name in device else ""
        print(f"{name:28s} {speed:8.0f} {batch}")
    figures = {"seconds": options.seconds, "device": options.device, "reader": readers, "batch": device}
    with write_whole(options.json) as stream:
        json.dump(figures, stream, indent=1)


def draws(samples: int) -> dict[str, Callable[[np.random.Generator], Drawn]]:
    """Return the distortions; what is drawn anew for each utterance in training is drawn in the function."""
    recorded = speech(samples, 1)

    def noise(rng: np.random.Generator) -> Noise:
        return Noise(distortions.white_spectrum(samples, rng), 10.0, 1.0)

    lines = {
        f"telephone, {codec}": lambda _, codec=codec: Drawn(line=(-3.0, codec))
        for codec in distortions.TELEPHONE_CODECS
    }
    voices = {f"voice, pitch {voice[0]}": lambda _, voice=voice: Drawn(voice=voice) for voice in VOICES}
    return {
        **voices,
        "simulated room, 0.5 s": lambda rng: Drawn(room=distortions.random_room(RATE, 0.5, 3.0, rng)),
        "recorded noise": lambda _: Drawn(noises=(Noise(recorded, 10.0),)),
        "synthesised noise": lambda rng: Drawn(noises=(noise(rng),)),
        "equalizer": lambda rng: Drawn(equaliser=distortions.equaliser(rng.uniform(-10, 10, 8))),
        "level": lambda _: Drawn(peak_db=-3.0),
        **lines,
    }


def speech(samples: int, seed: int) -> distortions.Wave:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def of_reader(draw: Callable[[np.random.Generator], Drawn], samples: int) -> float:
    """Return the speed of drawing and applying a distortion, from the fastest of some rounds."""
    wave, rng = speech(samples, 0), np.random.default_rng(0)
    fastest = min(timed(lambda: distorted(wave, draw(rng), RATE)) for _ in range(REPEATS))
    return samples / RATE / fastest


def of_batch(draw: Callable[[np.random.Generator], Drawn], samples: int, device: torch.device) -> float:
    """Return the speed of applying a distortion to a batch that is already on the device."""
    utterances, rng = max(int(BATCH_S * RATE / samples), 1), np.random.default_rng(0)
    wave_bt = torch.from_numpy(np.stack([speech(samples, 0)] * utterances)).to(device)
    todo = moved(collate([Later(draw(rng), samples, 0) for _ in range(utterances)]), device)
    lengths_b = torch.full((utterances,), samples)

    def work() -> None:
        distort(wave_bt, lengths_b, todo)
        if device.type == "cuda":
            torch.cuda.synchronize()

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    fastest = min(timed(work, clock) for _ in range(3))
    return utterances * samples / RATE / fastest


def timed(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    work()
    return clock() - started


if __name__ == "__main__":
    run(main)
