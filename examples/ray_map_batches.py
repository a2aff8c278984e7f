"""Identify the recordings of a folder with Ray Data, on two workers: ray_map_batches.py MODEL FOLDER."""

import sys

import ray

from lid_toolkit import LanguageIdentifier


class Identify:
    """A worker: it loads the model once."""

    def __init__(self, model: str) -> None:
        self.lid = LanguageIdentifier.from_pretrained(model, threads=1)

    def __call__(self, batch: dict) -> dict:
        """Return the records of a batch of files."""
        return {
            "path": batch["path"],
            **self.lid.identify_batch(batch, column="bytes", top_k=3),
        }


def main(model: str, folder: str) -> None:
    """Print a row for each recording of a folder."""
    ray.init(num_cpus=3, include_dashboard=False)  # two identify and one reads
    rows = ray.data.read_binary_files(folder, include_paths=True)
    rows = rows.map_batches(Identify, fn_constructor_args=(model,), batch_size=64, concurrency=2)
    for row in rows.iter_rows():
        print(row["path"], row["status"], row["language"], row["score"])


if __name__ == "__main__":
    main(*sys.argv[1:])
