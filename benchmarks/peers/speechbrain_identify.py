#!/usr/bin/env python3
"""Identify with SpeechBrain's ``EncoderClassifier``, and record the CPU seconds of its loop.

    speechbrain_identify.py make FOLDER
    speechbrain_identify.py NOTES FOLDER BATCH_SIZE FILE...

``identification.py`` runs it with the Python in which SpeechBrain is installed. ``make`` writes random
weights and labels to a folder that has ``hyperparams.yaml``. The file NOTES receives the seconds, without
start-up.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.classifiers import EncoderClassifier


def make(folder: str) -> None:
    """Write embedding_model.ckpt, classifier.ckpt and label_encoder.txt."""
    text = Path(folder, "hyperparams.yaml").read_text(encoding="utf-8")
    parts = load_hyperpyyaml(text)
    for name in ("embedding_model", "classifier"):
        torch.save(parts[name].state_dict(), f"{folder}/{name}.ckpt")
    lines = [f"'l{number:03d}' => {number}\n" for number in range(parts["out_n_neurons"])]
    lines += ["================\n", "'starting_index' => 0\n"]
    Path(folder, "label_encoder.txt").write_text("".join(lines), encoding="utf-8")


def identify(notes: str, folder: str, batch_size: int, paths: list[str]) -> None:
    """Identify files in batches, in their order, padded as in SpeechBrain's documentation."""
    model = EncoderClassifier.from_hparams(folder, savedir=f"{folder}/saved")
    started = time.process_time()
    for first in range(0, len(paths), batch_size):
        waves = [model.load_audio(path) for path in paths[first : first + batch_size]]
        lengths_b = torch.tensor([len(wave) for wave in waves])
        wave_bt = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        model.classify_batch(wave_bt, lengths_b / wave_bt.shape[1])
    Path(notes).write_text(str(time.process_time() - started), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        identify(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
