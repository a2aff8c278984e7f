"""Identify recordings as a Hugging Face data set: datasets_map.py MODEL FILE..."""

import sys

from datasets import Dataset

from lid_toolkit import LanguageIdentifier


def main(model: str, *paths: str) -> None:
    """Print a row for each recording."""
    lid = LanguageIdentifier.from_pretrained(model, threads=1)
    # Of a data set with a column of audio, take its bytes: rows.cast_column("audio", Audio(decode=False))
    rows = Dataset.from_dict({"audio": list(paths)})
    rows = rows.map(lid.identify_batch, batched=True, batch_size=64, fn_kwargs={"top_k": 3})
    for row in rows:
        print(row["audio"], row["status"], row["language"], row["score"])


if __name__ == "__main__":
    main(*sys.argv[1:])
