"""Identify the recordings of a Hugging Face data set: datasets_map.py MODEL FOLDER."""

import sys

from datasets import Audio, load_dataset

from lid_toolkit import LanguageIdentifier


def main(model: str, folder: str) -> None:
    """Print a row for each recording of a folder."""
    lid = LanguageIdentifier.from_pretrained(model, threads=1)
    rows = load_dataset("audiofolder", data_dir=folder, split="train")
    rows = rows.cast_column("audio", Audio(decode=False))  # the bytes or the path, which need no decoder
    rows = rows.map(lid.identify_batch, batched=True, batch_size=64, fn_kwargs={"top_k": 3})
    for row in rows:
        print(row["audio"]["path"], row["status"], row["language"], row["score"])


if __name__ == "__main__":
    main(*sys.argv[1:])
