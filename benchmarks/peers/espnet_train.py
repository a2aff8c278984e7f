#!/usr/bin/env python3
"""Run ESPnet's ``lid_train``, and record the start time and the amount of speech of each training batch.

    espnet_train.py NOTES [options of espnet2.bin.lid_train]

``espnet_training.py`` runs it with the Python in which ESPnet is installed. The file NOTES receives a JSON
list of [monotonic seconds, samples without padding, samples with padding].
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from espnet2.lid.espnet_model import ESPnetLIDModel
from espnet2.tasks.lid import LIDTask


def main(notes: str, words: list[str]) -> None:
    """Train with a model whose forward pass records each batch."""
    seen: list[tuple[float, int, int]] = []
    forward = ESPnetLIDModel.forward

    def noting(self: Any, speech: Any, speech_lengths: Any = None, **others: Any) -> Any:
        if self.training:
            seen.append((time.monotonic(), int(speech_lengths.sum()), speech.numel()))
        return forward(self, speech, speech_lengths, **others)

    ESPnetLIDModel.forward = noting
    LIDTask.main(cmd=words)
    with open(notes, "w", encoding="utf-8") as stream:
        json.dump(seen, stream)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
