#!/usr/bin/env python3
"""Train ESPnet on the sets of a recipe, and test it; prints the report of ``lid score``.

    benchmarks/espnet_accuracy.py --espnet_python espnet/bin/python \
        --config conf/voxlingua107_dev_ecapa.yaml \
        --train_dir dump/voxlingua107_dev/raw/train_voxlingua107_dev_fold1 \
        --valid_dir dump/voxlingua107_dev/raw/valid_voxlingua107_dev_fold1 \
        --test_dir dump/voxlingua107_dev/raw/test_voxlingua107_dev_fold1 \
        --stats_dir exp/voxlingua107_dev/fold1/lid_stats_16k --output_dir exp/espnet_fold1

``--espnet_python`` is a Python with ``espnet==202511`` and ``numpy<2.4``. ESPnet gets the configuration
without the keys and augmentations that it does not have, crops of 3 s, and float32. Every batch has as many
crops as fit into our ``batch_bins``: ESPnet's own ``batch_bins`` count whole utterances, although the model
hears crops, and end an epoch with a batch of one utterance, on which batch normalisation fails.
Its inference hears whole utterances, one at a time, with the checkpoint that is best on the validation set.
``OUTPUT_DIR/inference/SET`` has the answers for ``lid compare``. Remove ``--output_dir`` to train again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from espnet_training import data_words

from lid_toolkit.cli import OptionParser, positive_int, run
from lid_toolkit.commands.main import dispatch
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole

CROP_S = 3.0
RATE = 16000
OURS = ("best_model_criterion", "preprocessor_conf", "use_amp")
"""Keys whose values ESPnet does not understand."""


def main(arguments: Sequence[str]) -> None:
    """Train, identify the test set and score the answers."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--espnet_python", type=Path, required=True, help="Python with ESPnet installed")
    parser.add_argument("--config", type=Path, required=True, help="training configuration")
    for name in ("train", "valid", "test"):
        parser.add_argument(f"--{name}_dir", type=Path, required=True, help=f"formatted {name} set")
    parser.add_argument("--stats_dir", type=Path, required=True, help="output directory of stage 4")
    parser.add_argument("--output_dir", type=Path, required=True, help="directory to write")
    parser.add_argument("--max_epoch", type=positive_int, help="number of epochs, as --max_epoch of stage 5")
    options = parser.parse_args(arguments)
    directory = options.output_dir.absolute()
    with write_whole(directory / "train.yaml") as stream:
        yaml.safe_dump(settings(yaml.safe_load(options.config.read_text()), options.max_epoch), stream)
    sets = [getattr(options, name).absolute() for name in ("train_dir", "valid_dir", "stats_dir")]
    if not (directory / "exp" / "valid.accuracy.best.pth").exists():
        words = ["--config", str(directory / "train.yaml"), "--output_dir", str(directory / "exp")]
        call(options.espnet_python, "lid_train", [*words, *data_words(*sets)], directory)
    languages = [line.split()[0] for line in (options.train_dir / "lang2utt").read_text().splitlines()]
    answers = identify(options.espnet_python, options.test_dir.absolute(), languages, directory)
    dispatch(["score", "--pred_lids", str(answers), "--target_lids", str(options.test_dir / "utt2lang")])


def settings(conf: Mapping[str, Any], max_epoch: int | None) -> dict[str, Any]:
    """Return a configuration of ours for ESPnet, whose ``batch_type`` is ``catpow``.

    The schedule ends with the last epoch. Batches have a fixed number of utterances, because their least and
    largest numbers are equal, and languages are drawn as by us: ESPnet's ``catpow`` reads another key.
    """
    kept = {key: value for key, value in conf.items() if key not in OURS}
    epochs = max_epoch or kept["max_epoch"]
    schedule = {**kept["scheduler_conf"], "max_steps": epochs * kept["num_iters_per_epoch"]}
    crops = int(kept["batch_bins"] / (CROP_S * RATE))
    return {
        **kept,
        "max_epoch": epochs,
        "scheduler_conf": schedule,
        "min_batch_size": crops,
        "max_batch_size": crops,
        "upsampling_factor": kept["category_upsampling_factor"],
        "preprocessor_conf": {"fix_duration": True, "target_duration": CROP_S, "sample_rate": RATE},
        "best_model_criterion": [["valid", "accuracy", "max"]],
        "target_duration": CROP_S,
        "use_matplotlib": False,
        "use_tensorboard": False,
    }


def identify(python: Path, test: Path, languages: Sequence[str], directory: Path) -> Path:
    """Identify a set with the trained model and return the table of the answers.

    ESPnet wants labels, which do not change its answers, and stops at a language that the model does not
    know. So all utterances get the label of the first language.
    """
    out = directory / "inference" / test.name
    out.mkdir(parents=True, exist_ok=True)
    (out / "languages").write_text("".join(f"{language}\n" for language in languages))
    lines = (test / "utt2num_samples").read_text()
    (directory / "speech_shape").write_text(lines)
    labels = "".join(f"{line.split()[0]} {languages[0]}\n" for line in lines.splitlines())
    (directory / "lid_labels").write_text(labels)
    words = ["--ngpu", "0", "--output_dir", str(out), "--num_workers", "0", "--valid_batch_size", "1"]
    words += ["--data_path_and_name_and_type", f"{test}/wav.scp,speech,sound"]
    words += ["--data_path_and_name_and_type", f"{directory}/lid_labels,lid_labels,text"]
    words += ["--shape_file", str(directory / "speech_shape"), "--fix_duration", "false"]
    words += ["--lid_train_config", str(directory / "exp" / "config.yaml"), "--extract_embd", "false"]
    words += ["--lid_model_file", str(directory / "exp" / "valid.accuracy.best.pth")]
    call(python, "lid_inference", words, directory)
    return next(out.glob("*_lids")).rename(out / f"{test.name}_lids")


def call(python: Path, module: str, words: Sequence[str], directory: Path) -> None:
    """Run a module of ESPnet's, with its output in ``MODULE.log``; LidError if it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    log = directory / f"{module}.log"
    with log.open("w") as stream:
        done = subprocess.run(
            [python.absolute(), "-m", f"espnet2.bin.{module}", *words],
            env=clean,
            check=False,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        raise LidError((log.read_text().splitlines() or ["no message"])[-1], where=log)


if __name__ == "__main__":
    run(main)
