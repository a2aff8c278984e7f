"""Identify recordings that the workers of a PyTorch loader decode: pytorch_loader.py MODEL FILE..."""

import sys

import soundfile
from torch.utils.data import DataLoader

from lid_toolkit import LanguageIdentifier


def collate(paths: list[str]) -> dict:
    """Return a batch by columns; each recording keeps its length and its rate."""
    return {"path": paths, "audio": [soundfile.read(path, dtype="float32") for path in paths]}


def main(model: str, *paths: str) -> None:
    """Print a row for each recording."""
    lid = LanguageIdentifier.from_pretrained(model, threads=1)
    for batch in DataLoader(list(paths), batch_size=16, num_workers=2, collate_fn=collate):
        records = lid.identify_batch(batch, top_k=3)
        for path, status, language, score in zip(
            batch["path"], records["status"], records["language"], records["score"], strict=True
        ):
            print(path, status, language, score)


if __name__ == "__main__":
    main(*sys.argv[1:])
