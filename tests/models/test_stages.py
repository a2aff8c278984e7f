"""Components of every kind train from a YAML by stage 5, and identify by stage 6.

Every front end comes with every encoder, and every encoder with every pooling.
"""

from __future__ import annotations

import json
import logging
import runpy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from data.corpus import LANGUAGES, write_set, write_stats
from models.combinations import BANDS, ENCODERS, FRONTENDS, POOLINGS, description

from lid_toolkit.data.features import reference
from lid_toolkit.datadir.ark import read_vectors
from lid_toolkit.datadir.tables.table import read_table, write_table

SCRIPTS = Path(__file__).resolve().parents[2] / "pyscripts"
HOP = 80
COVERING = [
    (frontend, encoder, list(POOLINGS)[(row + column) % len(POOLINGS)])
    for row, frontend in enumerate(FRONTENDS)
    for column, encoder in enumerate(ENCODERS)
]
TRAINING = {
    "preprocessor_conf": {"target_duration": [0.05, 0.15]},
    "batch_bins": 8000,
    "num_iters_per_epoch": 3,
    "max_epoch": 1,
    "optim_conf": {"lr": 0.001},
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
}


def command(script: str) -> Callable[[Sequence[str]], None]:
    main: Callable[[Sequence[str]], None] = runpy.run_path(str(SCRIPTS / script))["main"]
    return main


train, infer = command("train.py"), command("infer.py")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Compute on one thread, and drop the log files that trainings open."""
    threads, handlers = torch.get_num_threads(), list(logging.getLogger().handlers)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.getLogger().handlers[:] = handlers


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Write sets of beeps, and beside them sets of made-up features for a model without a front end."""
    root = tmp_path_factory.mktemp("corpus")
    for kind in ("audio", "features"):
        sets = [
            write_set(root / kind / "train", 9, 1, 400, 2000),
            write_set(root / kind / "valid", 6, 2, 50, 900),
        ]
        write_stats(root / kind / "stats", *sets)
        if kind == "features":
            for data_dir in sets:
                write_features(data_dir)
    np.savez(root / "stats.npz", count=9, sum=np.zeros(BANDS), sum_square=np.full(BANDS, 9.0))
    return root


def write_features(data_dir: Path) -> None:
    rng, matrix = np.random.default_rng(0), data_dir / "feats.npy"
    bounds = np.cumsum(
        [0, *(int(length) // HOP + 1 for _, length in read_table(data_dir / "utt2num_samples"))]
    )
    np.save(matrix, rng.standard_normal((bounds[-1], BANDS)).astype(np.float16))
    keys = read_table(data_dir / "wav.scp").keys()
    rows = zip(keys, bounds, bounds[1:], strict=False)
    write_table(data_dir / "feats.scp", [(key, reference(matrix, start, stop)) for key, start, stop in rows])
    made = {"frontend": None, "frontend_conf": {}, "hop_length": HOP}
    (data_dir / "features.json").write_text(json.dumps(made))


@pytest.mark.parametrize("combination", COVERING, ids=str)
def test_stage_5_and_stage_6(corpus, tmp_path, combination):
    sets = corpus / ("features" if combination[0] is None else "audio")
    settings = {**description(*combination), **TRAINING}
    if settings["normalize"] == "global_mvn":
        settings["normalize_conf"] = {"stats_file": str(corpus / "stats.npz")}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    places = {"train_dir": sets / "train", "valid_dir": sets / "valid", "stats_dir": sets / "stats"}
    words = {"config": tmp_path / "train.yaml", **places, "output_dir": tmp_path / "exp", "ngpu": 0}
    train([word for name, value in words.items() for word in (f"--{name}", str(value))])

    model, out = tmp_path / "exp" / "valid.accuracy.best.pth", tmp_path / "valid"
    for action in ("plan", "job", "merge"):
        infer([action, "--model", str(model), "--data_dir", str(sets / "valid"), "--output_dir", str(out)])
    assert (out / "failed").read_text() == ""
    assert set(dict(read_table(out / "valid_lids")).values()) <= set(LANGUAGES)
    keys, scores = read_vectors(out / "scores.scp")
    assert keys == tuple(read_table(sets / "valid" / "wav.scp").keys())
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-5)
    assert len(np.unique(scores, axis=0)) > 1
