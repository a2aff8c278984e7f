"""ESPnet's tiny model under this toolkit's parameter names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import yaml

from lid_toolkit.models.build import build_model
from lid_toolkit.models.lid_model import LidModel

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "espnet"
LANGUAGES = ("eng", "fra", "ita", "rus", "spa")
RENAMED = {
    "pooling.attention.0": "pooling.score_frame",
    "pooling.attention.2": "pooling.norm",
    "pooling.attention.3": "pooling.score_channel",
    "se.se.1": "se.reduce",
    "se.se.3": "se.norm",
    "se.se.4": "se.expand",
}


def arrays(name: str) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(FIXTURES / f"{name}.npz") as stored:
        return dict(stored)


def description(head: str = "aamsoftmax_sc_topk") -> dict[str, object]:
    return dict(yaml.safe_load((FIXTURES / f"config_{head}.yaml").read_text()))


def tiny_model() -> LidModel:
    """Return the tiny model in evaluation mode, with ESPnet's weights."""
    weights = {}
    for key, value in arrays("tiny_sc_topk").items():
        name = key.removeprefix("sd/")
        if name != key and not name.endswith("melmat"):
            for theirs, ours in RENAMED.items():
                name = name.replace(theirs, ours)
            weights[name] = torch.from_numpy(value)
    model = build_model(description(), len(LANGUAGES))
    model.load_state_dict(weights)
    return model.eval()


def their_state() -> dict[str, torch.Tensor]:
    """Return the tiny model's parameters under ESPnet's names."""
    stored = arrays("tiny_sc_topk").items()
    return {key.removeprefix("sd/"): torch.from_numpy(v) for key, v in stored if key.startswith("sd/")}


def write_espnet_experiment(directory: Path) -> Path:
    """Write the tiny model as ESPnet leaves it; its config.yaml names data/tiny/lang2utt."""
    (directory / "data" / "tiny").mkdir(parents=True)
    shutil.copy(FIXTURES / "config_aamsoftmax_sc_topk.yaml", directory / "config.yaml")
    torch.save(their_state(), directory / "valid.accuracy.best.pth")
    lines = [f"{language} {language}_utt1 {language}_utt2\n" for language in LANGUAGES]
    (directory / "data" / "tiny" / "lang2utt").write_text("".join(lines))
    return directory


def waves() -> list[torch.Tensor]:
    stored = arrays("tiny_sc_topk")
    return [torch.from_numpy(stored[f"wav{i}"].astype(np.float32) / 32768) for i in range(3)]
