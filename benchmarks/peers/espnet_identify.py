#!/usr/bin/env python3
"""Identify with ESPnet's ``lid_inference``, and record the CPU seconds of its loop.

    espnet_identify.py make CONFIG DIRECTORY CLASSES
    espnet_identify.py NOTES [options of espnet2.bin.lid_inference]

``identification.py`` runs it with the Python in which ESPnet is installed. ``make`` writes a model with
random weights to a directory that has ``lang2utt``. The file NOTES receives the seconds, without start-up.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.bin import lid_inference
from espnet2.tasks.lid import LIDTask
from espnet2.train.lid_trainer import LIDTrainer


def make(config: str, directory: str, classes: str) -> None:
    """Write config.yaml and model.pth."""
    words = ["--config", config, "--output_dir", directory, "--use_preprocessor", "true"]
    words += ["--lang2utt", f"{directory}/lang2utt", "--lang_num", classes]
    settings = LIDTask.get_parser().parse_args(words)
    torch.save(LIDTask.build_model(settings).state_dict(), f"{directory}/model.pth")
    Path(directory, "config.yaml").write_text(yaml.safe_dump(vars(settings)), encoding="utf-8")


def identify(notes: str, words: list[str]) -> None:
    """Run ESPnet's command with a loop that is timed."""
    loop = LIDTrainer.extract_embed_lid

    def timed(*arguments: Any, **others: Any) -> None:
        started = time.process_time()
        loop(*arguments, **others)
        Path(notes).write_text(str(time.process_time() - started), encoding="utf-8")

    LIDTrainer.extract_embed_lid = timed
    lid_inference.main(words)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*sys.argv[2:])
    else:
        identify(sys.argv[1], sys.argv[2:])
