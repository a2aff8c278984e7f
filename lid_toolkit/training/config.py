"""The training configuration: ESPnet's YAML keys, each with its meaning, type and default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.sampling import BY_CATEGORY, BatchType
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.training.espnet_yaml import without_espnet_keys
from lid_toolkit.training.overrides import numbers, override, read_settings
from lid_toolkit.training.schedules import SCHEDULES

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
MeasuredSet = Literal["train", "valid"]
Measure = Literal["loss", "accuracy", "macro_accuracy"]


def _measured(criterion: tuple[str, ...]) -> tuple[str, ...]:
    if criterion[:2] == ("train", "macro_accuracy"):
        raise ValueError("macro_accuracy is measured on the validation set alone")
    return criterion


def _criteria(value: object) -> object:
    """Write out the short form: a measure stands for its best value on the validation set."""
    if isinstance(value, str):
        return [("valid", value, "min" if value == "loss" else "max")]
    return value


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


Criterion = Annotated[tuple[MeasuredSet, Measure, Literal["min", "max"]], AfterValidator(_measured)]
Criteria = Annotated[tuple[Criterion, ...], Field(min_length=1), BeforeValidator(_criteria)]


class TrainConfig(BaseModel):
    """Everything that decides a training, apart from the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    frontend: str | None = None
    """Waveform to features; null for a model that is given features."""
    frontend_conf: dict[str, Any] = {}
    """Arguments of the front end."""
    input_size: Positive | None = None
    """Dimension of the features where there is no front end."""
    specaug: str | None = None
    """Masking of features in training; null for none."""
    specaug_conf: dict[str, Any] = {}
    """Arguments of SpecAugment."""
    normalize: str | None = None
    """Feature normaliser; null for none."""
    normalize_conf: dict[str, Any] = {}
    """Arguments of the normaliser."""
    encoder: str = "rawnet3"
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
    loss: str = "aamsoftmax"
    """Training loss over languages."""
    loss_conf: dict[str, Any] = {}
    """Arguments of the loss."""
    preprocessor: Literal["lid"] = "lid"
    """Crops and augmentations."""
    preprocessor_conf: PreprocessorConf = PreprocessorConf()
    """Arguments of the preprocessor."""
    iterator_type: Literal["category", "sequence"] = "category"
    """``sequence`` goes with ``unsorted``, ``sorted``, ``length`` and ``numel``; ``category`` with all."""
    batch_type: BatchType = "catpow"
    """Law of the draws and what goes into one batch; see below."""
    upsampling_factor: Annotated[float, Field(ge=0)] | None = None
    """Power of a language's share in ``catpow``; null for ``category_upsampling_factor``."""
    category_upsampling_factor: Annotated[float, Field(ge=0)] = 0.5
    """Power of a language's share: 1 keeps the proportions of the corpus, 0 draws every language alike."""
    dataset_upsampling_factor: Annotated[float, Field(ge=0)] = 0.5
    """Power of a dataset's share in ``catpow_balance_dataset``."""
    batch_bins: Positive = 1000000
    """Most samples in a training batch, padding included; longer utterances are cropped to it."""
    valid_batch_bins: Positive | None = None
    """Most samples in a validation batch; null for ``batch_bins``."""
    batch_size: Positive = 20
    """Utterances in a batch of ``catbel``, ``unsorted`` and ``sorted``, as far as ``batch_bins`` allows."""
    max_batch_size: Positive | None = None
    """Most utterances in a training batch; null for as many as fit."""
    min_batch_size: Positive = 1
    """Fewest utterances in a training batch; crops are short enough for so many to fit."""
    drop_last_iter: bool = False
    """Leave out an epoch's last batch, which nothing filled."""
    dataset_scaling_factor: Annotated[float, Field(gt=0)] = 1.2
    """Draws in an epoch by category (``catpow``, ``catbel``, …), as a multiple of the utterances."""
    num_iters_per_epoch: Positive | None = None
    """Batches in an epoch, over all processes; null for all draws, or one pass over the corpus."""
    max_epoch: Positive = 20
    """Number of epochs."""
    accum_grad: Positive = 1
    """Batches whose gradients make one update."""
    grad_clip: Annotated[float, Field(gt=0)] = 5.0
    """Largest norm of the gradient; larger ones are scaled down."""
    grad_clip_type: Annotated[float, Field(gt=0)] = 2.0
    """Exponent of that norm."""
    detect_anomaly: bool = False
    """Name the operation whose gradient is not a number; slow."""
    optim: str = "adam"
    """Optimizer of ``torch.optim``, in lower case."""
    optim_conf: dict[str, Any] = {"lr": 1e-3}
    """Arguments of the optimizer."""
    optim_groups: dict[str, dict[str, Any]] = {}
    """Arguments of the optimizer for parts of the model, by the start of their names (``frontend``)."""
    exclude_weight_decay: bool = False
    """No ``weight_decay`` for biases and normalisations."""
    freeze_param: tuple[str, ...] = ()
    """Starts of the names of parameters that are not trained, such as ``frontend.upstream``."""
    scheduler: Annotated[str, StringConstraints(to_lower=True)] | None = None
    """Learning-rate schedule, in capitals or not; null keeps the rate."""
    scheduler_conf: dict[str, Any] = {}
    """Arguments of the schedule."""
    val_scheduler_criterion: Annotated[tuple[MeasuredSet, Measure], AfterValidator(_measured)] = (
        "valid",
        "loss",
    )
    """Measure that ``reducelronplateau`` looks at."""
    use_amp: bool | Literal["auto"] = False
    """Compute the forward pass in 16 bits; ``auto`` where the machine does bfloat16 natively."""
    amp_dtype: Literal["auto", "bfloat16", "float16"] = "auto"
    """Those 16 bits; ``auto`` is float16 on GPUs without bfloat16. float16 scales the loss."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and keep a moving average of the weights, with this decay at each update; null for none."""
    torch_compile: bool = False
    """Compile the model by ``torch.compile``."""
    sharded_ddp: bool = False
    """Share weights, gradients and optimizer out over the processes (FSDP), not a copy for each (DDP)."""
    unused_parameters: bool = False
    """Let DDP look for parameters that a batch does not use; parts that skip some see to it themselves."""
    cudnn_enabled: bool = True
    """Use cuDNN."""
    cudnn_benchmark: bool = False
    """Let cuDNN try its algorithms for each new shape."""
    cudnn_deterministic: bool = False
    """Take only those of cuDNN's algorithms that repeat their results."""
    use_tf32: bool = False
    """Let NVIDIA GPUs since Ampere multiply float32 with a mantissa of 10 bits."""
    deterministic: bool = False
    """Take only algorithms that repeat their results, or fail; on a CPU all do."""
    selection_set: Literal["valid"] | Annotated[float, Field(gt=0, lt=1)] = "valid"
    """What picks the best epochs: the validation set, or this share of the training set, held out."""
    best_model_criterion: Criteria = (("valid", "accuracy", "max"),)
    """What picks the best epochs: a measure, or a list of ``[train or valid, measure, min or max]``."""
    keep_nbest_models: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] = 3
    """Best epochs whose weights are kept and averaged; with several numbers, an average for each."""
    patience: Positive | None = None
    """Training ends after more than this many epochs without a better one; null for never."""
    early_stopping_criterion: Criterion | None = None
    """What ``patience`` looks at; null for the first of ``best_model_criterion``."""
    init_param: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Weights to start from: ``FILE``, or ESPnet's ``FILE:SOURCE:DESTINATION:EXCLUDED``."""
    ignore_init_mismatch: bool = False
    """Start from them even where names or shapes differ."""
    max_bad_updates: NotNegative = 10
    """Non-finite losses or gradients that are skipped before training stops."""
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of an epoch's utterances, rounded up, that may be unreadable and are left out."""
    num_workers: NotNegative = 2
    """Processes that read and augment ahead."""
    log_interval: Positive | None = None
    """Batches between log lines; null for about ten an epoch."""
    use_matplotlib: bool = True
    """Draw curves after each epoch."""
    use_tensorboard: bool = True
    """Write TensorBoard events after each epoch."""
    use_wandb: bool = False
    """Send the measures to Weights & Biases after each epoch."""
    wandb_project: str | None = None
    """Its project; null for the name of the working directory."""
    wandb_entity: str | None = None
    """Its user or team; null for the default one."""
    wandb_name: str | None = None
    """Its name of the run; null for the experiment directory."""
    wandb_id: str | None = None
    """Its id of the run; null for one from the experiment directory, so that going on goes on there too."""
    seed: NotNegative = 0
    """Of weights, draws, crops and augmentations."""

    def model_description(self) -> dict[str, Any]:
        """Return the components and their arguments: all that rebuilds the model."""
        parts = ("frontend", "specaug", "normalize", "encoder", "pooling", "projector", "loss")
        components = {key: getattr(self, key) for part in parts for key in (part, f"{part}_conf")}
        return {"input_size": self.input_size, **components}

    @property
    def averaged(self) -> tuple[int, ...]:
        """Numbers of best epochs that are averaged."""
        kept = self.keep_nbest_models
        return (kept,) if isinstance(kept, int) else kept


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training YAML and apply ``--key value`` overrides, nested as in ``--optim_conf.lr 1e-4``.

    Raises:
        LidError: no such file, not YAML, an unknown key (naming the nearest), a wrong value.
    """
    return parse_config(override(read_settings(path), overrides), path)


def parse_config(raw: Mapping[str, Any], where: object) -> TrainConfig:
    """Check a configuration's keys and values.

    Raises:
        LidError: naming the key and, if it is unknown, the nearest known one.
    """
    settings = numbers(without_espnet_keys(raw, TrainConfig.model_fields, where))
    try:
        config = TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise _one_line(error, TrainConfig, [], where) from error
    _check_batches(config, where)
    _check_sharded(config, where)
    if config.scheduler is not None:
        if config.scheduler not in SCHEDULES:
            what = f"unknown scheduler '{config.scheduler}'"
            raise LidError(what, where=where, mend=nearest(config.scheduler, SCHEDULES))
        conf = SCHEDULES[config.scheduler][0]
        try:
            conf.model_validate(config.scheduler_conf)
        except ValidationError as error:
            raise _one_line(error, conf, ["scheduler_conf"], where) from error
    return config


def _check_batches(config: TrainConfig, where: object) -> None:
    """Raise LidError for keys about batches that contradict each other."""
    if config.iterator_type == "sequence" and config.batch_type in BY_CATEGORY:
        what = f"iterator_type sequence with batch_type {config.batch_type}, which draws by category"
        raise LidError(what, where=where, mend="set iterator_type: category")
    for key in ("max_batch_size", "batch_bins"):
        most = getattr(config, key)
        if most is not None and most < config.min_batch_size:
            what = f"{key} {most} is less than min_batch_size {config.min_batch_size}"
            raise LidError(what, where=where, mend="correct one of them")


def _check_sharded(config: TrainConfig, where: object) -> None:
    """Raise LidError for a moving average of weights of which each process has a part only."""
    if config.sharded_ddp and config.ema_decay:
        raise LidError("ema_decay with sharded_ddp", where=where, mend="leave out one of them")


def _one_line(
    error: ValidationError, model: type[BaseModel], prefix: Sequence[str], where: object
) -> LidError:
    """Tell of the fault that explains most: an unknown key first, then a value that breaks a rule."""
    telling = {"extra_forbidden": 0, "value_error": 1}
    first = min(error.errors(), key=lambda fault: telling.get(fault["type"], len(telling)))
    keys = [str(part) for part in first["loc"]]
    known = (PreprocessorConf if len(keys) > 1 else model).model_fields
    unknown = first["type"] == "extra_forbidden"
    if not unknown:  # pydantic also names the alternatives of a type
        keys[1:] = [key for key in keys[1:] if key in known]
    name = ".".join((*prefix, *keys))
    if unknown:
        return LidError(f"unknown key '{name}'", where=where, mend=nearest(keys[-1], known))
    return LidError(
        f"{name}: {first['msg'].removeprefix('Value error, ')}", where=where, mend="correct the value"
    )
