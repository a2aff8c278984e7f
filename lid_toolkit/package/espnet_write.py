"""Write a model as an experiment of ESPnet's ``lid1``, which its own inference loads.

The directory has ``config.yaml``, ``valid.accuracy.best.pth`` (parameters under ESPnet's names) and
``lang2utt``, whose first column gives ESPnet the labels in index order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.importers.espnet_names import rename
from lid_toolkit.models.frontends.log_mel import LogMelFrontend
from lid_toolkit.models.protocols import counts_features
from lid_toolkit.models.registry import COMPONENTS
from lid_toolkit.training.checkpoint import SavedModel

MODEL_FILE, CONFIG, LABELS = "valid.accuracy.best.pth", "config.yaml", "lang2utt"
SUPPORTED: Mapping[str, tuple[str | None, ...]] = {
    "frontend": ("default",),
    "specaug": (None, "specaug"),
    "normalize": (None, "utterance_mvn"),
    "encoder": ("ecapa_tdnn", "xvector", "rawnet3", "ska_tdnn", "mfaconformer", "identity"),
    "pooling": ("chn_attn_stat", "stats", "mean"),
    "projector": ("rawnet3", "ska_tdnn", "xvector"),
    "loss": ("aamsoftmax_sc_topk", "aamsoftmax", "softmax"),
}
"""The components that can be exported. ESPnet has no others, or needs files with them."""
TRIED_FRAMES = 90
TRAINER: Mapping[str, Any] = {
    **{"ngpu": 0, "seed": 0, "max_epoch": 1, "patience": None, "accum_grad": 1, "log_interval": None},
    **{"grad_clip": 5.0, "grad_clip_type": 2.0, "grad_noise": False, "resume": False, "use_amp": False},
    **{"train_dtype": "float32", "no_forward_run": False, "sharded_ddp": False, "unused_parameters": False},
    **{"gradient_as_bucket_view": True, "ddp_comm_hook": None, "use_adapter": False, "adapter": "lora"},
    **{"save_strategy": "all", "use_matplotlib": False, "use_tensorboard": False, "use_wandb": False},
    **{"create_graph_in_tensorboard": False, "wandb_model_log_interval": -1},
    **{"keep_nbest_models": 1, "nbest_averaging_interval": 0},
    "val_scheduler_criterion": ["valid", "loss"],
    "early_stopping_criterion": ["valid", "loss", "min"],
    "best_model_criterion": [["valid", "accuracy", "max"]],
}
"""Options of ESPnet's trainer, which its inference reads too: without one of them it does not begin."""
# Patterns of this toolkit's names and ESPnet's: the reverse of those in lid_toolkit/importers/espnet_names.py
# for the parts that can be exported.
THEIR_NAMES = (
    (r"^pooling\.score_frame\.", "pooling.attention.0."),
    (r"^pooling\.norm\.", "pooling.attention.2."),
    (r"^pooling\.score_channel\.", "pooling.attention.3."),
    (r"\.se\.reduce\.", ".se.se.1."),
    (r"\.se\.norm\.", ".se.se.3."),
    (r"\.se\.expand\.", ".se.se.4."),
    (r"\.(skfwse|skcwse)\.attention\.(fcs?)\.", r".\1.\2."),
    (r"^encoder\.embed\.out\.", "encoder.embed.out.0."),
)


def write_espnet(saved: SavedModel, directory: Path) -> None:
    """Write an experiment directory of ESPnet.

    Args:
        saved: the model.
        directory: a directory that does not exist or is empty.

    Raises:
        LidError: the directory is not empty, ESPnet has no such component, or its pooling would give other
            results.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LidError("exists", where=directory, mend="give a new directory")
    for kind, names in SUPPORTED.items():
        if saved.description.get(kind) not in names:
            what = f"{kind}: {saved.description.get(kind)} cannot be exported to ESPnet"
            raise LidError(what, where=directory, mend=f"it takes {', '.join(map(str, names))}")
    check_frames(saved, directory)
    config = yaml.safe_dump(config_of(saved, directory), sort_keys=False, allow_unicode=True)
    directory.mkdir(parents=True, exist_ok=True)
    with write_whole(directory / LABELS) as stream:
        # ESPnet's column of utterances must not be empty.
        stream.writelines(f"{label} {label}_1\n" for label in saved.languages)
    with write_whole(directory / CONFIG) as stream:
        stream.write(config)
    with write_whole(directory / MODEL_FILE, "wb") as binary:
        torch.save(their_weights(saved), binary)


def check_frames(saved: SavedModel, directory: Path) -> None:
    """Raise LidError if ESPnet's pooling would count other frames than the model's does.

    ESPnet's poolings divide by the number of frames of the features (:class:`.poolings.EspnetPooling`).
    """
    model = saved.model
    feats_btd = torch.zeros(1, TRIED_FRAMES, model.frontend.output_size)
    with torch.inference_mode():
        _, steps_b = model.encoder(feats_btd, torch.tensor([TRIED_FRAMES]))
    if int(steps_b) != TRIED_FRAMES and not counts_features(model.pooling):
        encoder = saved.description["encoder"]
        raise LidError(
            f"{encoder} makes {int(steps_b)} of {TRIED_FRAMES} frames, and ESPnet's pooling divides by "
            f"{TRIED_FRAMES}, so its answers would differ",
            where=directory,
            mend="train with pooling_conf: {mean_over: features}, or export to ONNX",
        )


def config_of(saved: SavedModel, directory: Path) -> dict[str, Any]:
    """Return the content of ESPnet's ``config.yaml`` for a model."""
    parts: dict[str, Any] = {"input_size": None}
    for kind in COMPONENTS:
        parts[kind] = saved.description.get(kind)
        parts[f"{kind}_conf"] = _plain(saved.description.get(f"{kind}_conf") or {})
    parts["pooling_conf"].pop("mean_over", None)  # ESPnet has no choice
    return {
        "output_dir": str(directory),
        **TRAINER,
        "init": None,
        "use_preprocessor": True,
        "preprocessor": "lid",
        "preprocessor_conf": {"fix_duration": False, "sample_rate": saved.rate},
        "target_duration": 3.0,
        "lang2utt": str(directory / LABELS),
        "lang_num": len(saved.languages),
        "sample_rate": saved.rate,
        "model": "espnet",
        "model_conf": {},
        **parts,
        "version": "202511",
    }


def their_weights(saved: SavedModel) -> dict[str, Tensor]:
    """Return the parameters of a model under ESPnet's names, with the constants that it stores.

    Raises:
        LidError: a parameter has no name in ESPnet.
    """
    theirs = {their_name(name): value for name, value in saved.model.state_dict().items()}
    if rename(theirs).keys() != saved.model.state_dict().keys():
        raise LidError("the model has parameters that ESPnet does not have", where="lid export")
    assert isinstance(saved.model.frontend, LogMelFrontend)
    return {"frontend.logmel.melmat": saved.model.frontend.filters_fm.clone(), **theirs}


def their_name(name: str) -> str:
    """Return ESPnet's name of a parameter."""
    for pattern, replacement in THEIR_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _plain(value: Any) -> Any:
    """Return plain values that YAML can write: tuples become lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
