"""The training configuration: ESPnet's YAML keys, each with its meaning, type and default."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.errors import LidError, nearest

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class TriStageConf(BaseModel):
    """``scheduler_conf`` of ``tristagelr`` (Park et al., Interspeech 2019; fairseq's tri-stage)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_steps: Positive
    """Updates that the three ratios are shares of."""
    warmup_ratio: Annotated[float, Field(ge=0)] = 0.1
    """Share in which the rate rises linearly."""
    hold_ratio: Annotated[float, Field(ge=0)] = 0.4
    """Share in which it stays."""
    decay_ratio: Annotated[float, Field(ge=0)] = 0.5
    """Share in which it falls exponentially; then it stays at its end."""
    init_lr_scale: Annotated[float, Field(gt=0)] = 0.01
    """First rate, as a factor on ``lr``."""
    final_lr_scale: Annotated[float, Field(gt=0)] = 0.01
    """Last rate, as a factor on ``lr``."""


class TrainConfig(BaseModel):
    """Everything that decides a training, apart from the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    frontend: str | None = "default"
    """Waveform to features; null for a model that is given features."""
    frontend_conf: dict[str, Any] = {}
    """Arguments of the front end."""
    input_size: Positive | None = None
    """Dimension of the features where there is no front end."""
    specaug: str | None = None
    """Masking of features in training; null for none."""
    specaug_conf: dict[str, Any] = {}
    """Arguments of SpecAugment."""
    normalize: str | None = "utterance_mvn"
    """Feature normaliser; null for none."""
    normalize_conf: dict[str, Any] = {}
    """Arguments of the normaliser."""
    encoder: str = "ecapa_tdnn"
    """Features to frame-level outputs."""
    encoder_conf: dict[str, Any] = {}
    """Arguments of the encoder."""
    pooling: str = "chn_attn_stat"
    """Frame-level outputs to one vector."""
    pooling_conf: dict[str, Any] = {}
    """Arguments of the pooling."""
    projector: str = "rawnet3"
    """Pooled vector to embedding."""
    projector_conf: dict[str, Any] = {}
    """Arguments of the projector."""
    loss: str = "aamsoftmax_sc_topk"
    """Training loss over languages."""
    loss_conf: dict[str, Any] = {}
    """Arguments of the loss."""
    preprocessor: Literal["lid"] = "lid"
    """Crops and augmentations."""
    preprocessor_conf: PreprocessorConf = PreprocessorConf()
    """Arguments of the preprocessor."""
    iterator_type: Literal["category"] = "category"
    """How training batches are drawn: by language category."""
    batch_type: Literal["catpow"] = "catpow"
    """Law of the draws: languages by a power of their share."""
    category_upsampling_factor: Annotated[float, Field(ge=0)] = 0.5
    """That power: 1 keeps the proportions of the corpus, 0 draws every language alike."""
    batch_bins: Positive = 640000
    """Most samples in a training batch, padding included."""
    valid_batch_bins: Positive | None = None
    """Most samples in a validation batch; null for ``batch_bins``."""
    max_batch_size: Positive | None = None
    """Most utterances in a training batch; null for as many as fit."""
    dataset_scaling_factor: Annotated[float, Field(gt=0)] = 1.0
    """Draws in an epoch, as a multiple of the number of utterances."""
    num_iters_per_epoch: Positive | None = None
    """Batches in an epoch; null for what ``dataset_scaling_factor`` gives."""
    max_epoch: Positive = 20
    """Number of epochs."""
    accum_grad: Positive = 1
    """Batches whose gradients make one update."""
    grad_clip: Annotated[float, Field(gt=0)] = 5.0
    """Largest 2-norm of the gradient; larger ones are scaled down."""
    optim: str = "adam"
    """Optimizer of ``torch.optim``, in lower case."""
    optim_conf: dict[str, Any] = {"lr": 1e-3}
    """Arguments of the optimizer."""
    scheduler: Literal["tristagelr"] | None = None
    """Learning-rate schedule, stepping with each update; null keeps the rate."""
    scheduler_conf: dict[str, Any] = {}
    """Arguments of the schedule."""
    use_amp: bool | Literal["auto"] = False
    """bfloat16 autocast; ``auto`` where the machine computes it natively."""
    best_model_criterion: Literal["accuracy", "macro_accuracy", "loss"] = "accuracy"
    """Validation measure that picks the best epochs."""
    keep_nbest_models: Positive = 3
    """Best epochs whose weights are kept and averaged."""
    patience: Positive | None = None
    """Epochs without a better one after which training ends; null for never."""
    max_bad_updates: NotNegative = 10
    """Non-finite losses or gradients that are skipped before training stops."""
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of an epoch's utterances, rounded up, that may be unreadable and are left out."""
    num_workers: NotNegative = 2
    """Processes that read and augment ahead."""
    log_interval: Positive | None = None
    """Batches between log lines; null for about ten an epoch."""
    seed: NotNegative = 0
    """Of weights, draws, crops and augmentations."""

    def model_description(self) -> dict[str, Any]:
        """Return the components and their arguments: all that rebuilds the model."""
        parts = ("frontend", "specaug", "normalize", "encoder", "pooling", "projector", "loss")
        components = {key: getattr(self, key) for part in parts for key in (part, f"{part}_conf")}
        return {"input_size": self.input_size, **components}


_MODELS: dict[str, type[BaseModel]] = {model.__name__: model for model in (TrainConfig, TriStageConf)}


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training YAML and apply ``--key value`` overrides, nested as in ``--optim_conf.lr 1e-4``.

    Raises:
        LidError: no such file, not YAML, an unknown key (naming the nearest), a wrong value.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LidError("no such file", where=path, mend="check --lid_config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LidError(f"not YAML: {error}", where=path, mend="mend that line") from error
    if not isinstance(raw or {}, dict):
        raise LidError("not a list of 'key: value' lines", where=path, mend="write one key a line")
    return parse_config(override(raw or {}, overrides), path)


def parse_config(raw: Mapping[str, Any], where: object) -> TrainConfig:
    """Check a configuration's keys and values.

    Raises:
        LidError: naming the key and, if it is unknown, the nearest known one.
    """
    try:
        config = TrainConfig.model_validate(_floats(raw))
        if config.scheduler == "tristagelr":
            TriStageConf.model_validate(config.scheduler_conf)
    except ValidationError as error:
        raise _one_line(error, where) from error
    return config


def override(raw: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Return ``raw`` with ``--key value`` pairs laid over it; values are read as YAML."""
    changed = dict(raw)
    if len(words) % 2:
        raise LidError(f"'{words[-1]}' has no value", where="--lid_args", mend="write --key value pairs")
    for option, text in zip(words[::2], words[1::2], strict=True):
        if not option.startswith("--"):
            raise LidError(f"'{option}' is no option", where="--lid_args", mend="write --key value pairs")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise LidError(f"'{text}' is not YAML", where=option, mend="quote it") from error
        changed = _set(changed, option[2:].split("."), value)
    return changed


def _set(mapping: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    below = mapping.get(path[0])
    inner = below if isinstance(below, Mapping) else {}
    return {**mapping, path[0]: value if len(path) == 1 else _set(inner, path[1:], value)}


def _floats(value: Any) -> Any:
    """Turn strings such as ``1e-4``, which YAML 1.1 does not take for numbers, into numbers."""
    if isinstance(value, Mapping):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, str) and FLOAT.fullmatch(value) else value


def _one_line(error: ValidationError, where: object) -> LidError:
    """Tell of the fault that explains most: an unknown key first, then a value that breaks a rule."""
    telling = {"extra_forbidden": 0, "value_error": 1}
    first = min(error.errors(), key=lambda fault: telling.get(fault["type"], len(telling)))
    keys = [str(part) for part in first["loc"]]
    known = (PreprocessorConf if len(keys) > 1 else _MODELS[error.title]).model_fields
    unknown = first["type"] == "extra_forbidden"
    if not unknown:  # pydantic also names the alternatives of a type
        keys[1:] = [key for key in keys[1:] if key in known]
    name = ".".join([*(["scheduler_conf"] if error.title == TriStageConf.__name__ else []), *keys])
    if unknown:
        return LidError(f"unknown key '{name}'", where=where, mend=nearest(keys[-1], known))
    return LidError(f"{name}: {first['msg']}", where=where, mend="correct the value")
