"""The training configuration: ESPnet's YAML keys, each with its meaning, type and default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
)

from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.sampling import BY_CATEGORY, BatchType
from lid_toolkit.data.targets import TargetKind
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.training.adversary_conf import AdversaryConf, DomainTable
from lid_toolkit.training.distill_conf import DistillConf
from lid_toolkit.training.espnet_lora import with_lora
from lid_toolkit.training.espnet_yaml import without_espnet_keys
from lid_toolkit.training.overrides import numbers, override, read_settings
from lid_toolkit.training.schedules import SCHEDULES

MeasuredSet = Literal["train", "valid"]
SHORTEST_CROP_S = 0.1  # a few frames; models learn nothing from less
Measure = Literal["loss", "accuracy", "macro_accuracy"]
DType = Literal["float32", "bfloat16", "float16", "auto"]
"""Number formats; ``auto`` is bfloat16 on a device with instructions for it, and float32 elsewhere."""
DTYPES: tuple[DType, ...] = get_args(DType)


def _measured(criterion: tuple[str, ...]) -> tuple[str, ...]:
    if criterion[:2] == ("train", "macro_accuracy"):
        raise ValueError("macro_accuracy is only measured on the validation set")
    return criterion


def _criteria(value: object) -> object:
    """Expand the short form: a measure alone means its best value on the validation set."""
    if isinstance(value, str):
        return [("valid", value, "min" if value == "loss" else "max")]
    return value


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


Criterion = Annotated[tuple[MeasuredSet, Measure, Literal["min", "max"]], AfterValidator(_measured)]
Criteria = Annotated[tuple[Criterion, ...], Field(min_length=1), BeforeValidator(_criteria)]


class TrainConfig(BaseModel):
    """Everything that determines the result of a training, except the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    frontend: str | None = None
    """Front end: waveform to features; null for a model that takes features."""
    frontend_conf: dict[str, object] = {}
    """Arguments of the front end."""
    input_size: PositiveInt | None = None
    """Dimension of the features, if there is no front end."""
    specaug: str | None = None
    """Masking of features in training; null for none."""
    specaug_conf: dict[str, object] = {}
    """Arguments of SpecAugment."""
    normalize: str | None = None
    """Feature normaliser; null for none."""
    normalize_conf: dict[str, object] = {}
    """Arguments of the normaliser."""
    encoder: str = "rawnet3"
    """Encoder: features to frame-level outputs."""
    encoder_conf: dict[str, object] = {}
    """Arguments of the encoder."""
    pooling: str = "chn_attn_stat"
    """Pooling: frame-level outputs to one vector."""
    pooling_conf: dict[str, object] = {}
    """Arguments of the pooling."""
    projector: str = "rawnet3"
    """Projector: pooled vector to embedding."""
    projector_conf: dict[str, object] = {}
    """Arguments of the projector."""
    loss: str = "aamsoftmax"
    """Training loss over languages."""
    loss_conf: dict[str, object] = {}
    """Arguments of the loss."""
    targets: TargetKind | None = None
    """Train with the weights (`soft`) or the presence (`multi_hot`) of languages; null for one label."""
    distill_from: str | None = None
    """Teacher: a model from whose answers to the training set this one learns; `lid.sh` has it answer."""
    distill_conf: DistillConf = DistillConf()
    """How much is learnt of the teacher."""
    adversary: DomainTable | None = None
    """Train embeddings that hide the values of this table of the training set; null for none."""
    adversary_conf: AdversaryConf = AdversaryConf()
    """How strongly they are hidden."""
    preprocessor: Literal["lid"] = "lid"
    """Crops and augmentations."""
    preprocessor_conf: PreprocessorConf = PreprocessorConf()
    """Arguments of the preprocessor."""
    iterator_type: Literal["category", "sequence"] = "category"
    """`sequence` allows `unsorted`, `sorted`, `length` and `numel`; `category` allows all batch types."""
    batch_type: BatchType = "catpow"
    """How utterances are drawn and put into batches; see above."""
    upsampling_factor: NonNegativeFloat | None = None
    """Power of a language's proportion in `catpow`; null for `category_upsampling_factor`."""
    category_upsampling_factor: NonNegativeFloat = 0.5
    """Power of a language's proportion: 1 keeps the proportions of the corpus, 0 makes them all equal."""
    dataset_upsampling_factor: NonNegativeFloat = 0.5
    """Power of a dataset's proportion in `catpow_balance_dataset`."""
    batch_bins: PositiveInt = 1000000
    """Largest number of samples in a training batch, padding included; longer utterances are cropped."""
    valid_batch_bins: PositiveInt | None = None
    """Largest number of samples in a validation batch; null for `batch_bins`."""
    max_valid_duration: NonNegativeFloat = 600.0
    """Longest utterance for validation, in seconds; longer ones are left out; 0: no limit."""
    batch_size: PositiveInt = 20
    """Utterances per batch of `catbel`, `unsorted` and `sorted`, if `batch_bins` allows it."""
    max_batch_size: PositiveInt | None = None
    """Largest number of utterances in a training batch; null for as many as fit."""
    min_batch_size: PositiveInt = 1
    """Smallest number of utterances in a training batch; crops are short enough for that many to fit."""
    drop_last_iter: bool = False
    """Skip the last batch of an epoch, which may not be full."""
    dataset_scaling_factor: PositiveFloat = 1.2
    """Draws per epoch of `catpow`, `catpow_balance_dataset` and `catbel`, as a multiple of the utterances."""
    num_iters_per_epoch: PositiveInt | None = None
    """Batches per epoch, over all processes; null for all draws, or one pass over the corpus."""
    max_epoch: PositiveInt = 20
    """Number of epochs."""
    accum_grad: PositiveInt = 1
    """Number of batches per update (gradient accumulation). On a CPU, several processes share them."""
    grad_clip: PositiveFloat = 5.0
    """Largest norm of the gradient; larger gradients are scaled down."""
    grad_clip_type: PositiveFloat = 2.0
    """Exponent of that norm, such as 2 for the Euclidean norm."""
    detect_anomaly: bool = False
    """Report the operation whose gradient is not a number; slow."""
    optim: str = "adam"
    """Name of an optimizer of `torch.optim`, in lower case."""
    optim_conf: dict[str, object] = {"lr": 1e-3}
    """Arguments of the optimizer."""
    optim_groups: dict[str, dict[str, object]] = {}
    """Arguments of the optimizer for parts of the model, by prefix of parameter names (`frontend`)."""
    exclude_weight_decay: bool = False
    """Do not apply `weight_decay` to biases and normalisations."""
    freeze_param: tuple[str, ...] = ()
    """Prefixes of names of parameters that are not trained (`frontend.upstream`); adapters stay trained."""
    scheduler: Annotated[str, StringConstraints(to_lower=True)] | None = None
    """Learning-rate schedule, in upper or lower case; null for a constant rate."""
    scheduler_conf: dict[str, object] = {}
    """Arguments of the schedule."""
    val_scheduler_criterion: Annotated[tuple[MeasuredSet, Measure], AfterValidator(_measured)] = (
        "valid",
        "loss",
    )
    """Measure that `reducelronplateau` uses."""
    use_amp: bool | Literal["auto"] = False
    """Compute the forward pass in 16 bits; `auto`: if the machine has instructions for bfloat16."""
    amp_dtype: Literal["auto", "bfloat16", "float16"] = "auto"
    """The 16-bit format; `auto` is bfloat16, but float16 (with a scaled loss) on GPUs without bfloat16."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and save a moving average of the weights with this decay per update; null for none."""
    torch_compile: bool = False
    """Compile the model with `torch.compile`."""
    sharded_ddp: bool = False
    """Split weights, gradients and optimizer state over the processes (FSDP), instead of copies (DDP)."""
    unused_parameters: bool = False
    """Let DDP look for parameters that a batch does not use; components that skip some need no setting."""
    cudnn_enabled: bool = True
    """Use cuDNN."""
    cudnn_benchmark: bool = False
    """Let cuDNN compare its algorithms for each new shape."""
    cudnn_deterministic: bool = False
    """Use only deterministic algorithms of cuDNN."""
    use_tf32: bool = False
    """Let NVIDIA GPUs (Ampere or newer) multiply float32 with a mantissa of 10 bits (TF32)."""
    deterministic: bool = False
    """Use only deterministic algorithms, or fail; on a CPU all are deterministic."""
    selection_set: Literal["valid"] | Annotated[float, Field(gt=0, lt=1)] = "valid"
    """Data for selecting the best epochs: the validation set, or a held-out fraction of the training set."""
    best_model_criterion: Criteria = (("valid", "accuracy", "max"),)
    """Criteria for the best epochs: a measure, or a list of `[train or valid, measure, min or max]`."""
    keep_nbest_models: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = 3
    """Number of best epochs whose weights are kept and averaged; several numbers make several averages."""
    patience: PositiveInt | None = None
    """Training ends after more than this many epochs without improvement; null for never."""
    early_stopping_criterion: Criterion | None = None
    """Criterion for `patience`; null for the first of `best_model_criterion`."""
    init_param: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Initial weights: `FILE`, or ESPnet's `FILE:SOURCE:DESTINATION:EXCLUDED`."""
    ignore_init_mismatch: bool = False
    """Use initial weights even if names or shapes differ; those parameters keep their own."""
    max_bad_updates: NonNegativeInt = 10
    """Number of updates with a non-finite loss or gradient that are skipped before training stops."""
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest proportion of an epoch's utterances that may be unreadable; the number is rounded up."""
    num_workers: NonNegativeInt = 2
    """Number of data-loading workers, which read and augment ahead."""
    log_interval: PositiveInt | None = None
    """Batches between two lines in the log; null for about ten lines per epoch."""
    use_matplotlib: bool = True
    """Draw curves after each epoch."""
    use_tensorboard: bool = True
    """Write TensorBoard events after each epoch."""
    use_wandb: bool = False
    """Send the measures to Weights & Biases after each epoch."""
    wandb_project: str | None = None
    """Project; null for the name of the working directory."""
    wandb_entity: str | None = None
    """User or team; null for the default."""
    wandb_name: str | None = None
    """Name of the run; null for the name of the experiment directory."""
    wandb_id: str | None = None
    """Id of the run; null for one made from the experiment directory, which a continued training keeps."""
    seed: NonNegativeInt = 0
    """Seed of initial weights, draws, crops and augmentations."""

    def model_description(self) -> dict[str, object]:
        """Return the components and their arguments, from which the model can be rebuilt."""
        parts = ("frontend", "specaug", "normalize", "encoder", "pooling", "projector", "loss")
        components = {key: getattr(self, key) for part in parts for key in (part, f"{part}_conf")}
        return {"input_size": self.input_size, **components}

    @property
    def averaged(self) -> tuple[int, ...]:
        """The numbers of best epochs to average."""
        kept = self.keep_nbest_models
        return (kept,) if isinstance(kept, int) else kept


def default_settings() -> dict[str, object]:
    """Return the default of each key, as JSON has it: what a training had before the key existed.

    So a new key must have what trainings did before as its default. Otherwise finished trainings would look
    current although they are not.
    """
    return TrainConfig().model_dump(mode="json")


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training YAML and apply ``--key value`` overrides (``--optim_conf.lr 1e-4`` for nested keys).

    Raises:
        LidError: the file does not exist or is not YAML, or a key or value is not valid.
    """
    return parse_config(override(read_settings(path), overrides), path)


def parse_config(raw: Mapping[str, object], where: object) -> TrainConfig:
    """Check a configuration's keys and values.

    Raises:
        LidError: a key or value is not valid; for an unknown key, the message names the nearest known one.
    """
    settings = numbers(without_espnet_keys(with_lora(raw, where), TrainConfig.model_fields, where))
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
        what = f"iterator_type sequence does not support batch_type {config.batch_type}"
        raise LidError(what, where=where, mend="set iterator_type: category")
    for key in ("max_batch_size", "batch_bins"):
        most = getattr(config, key)
        if most is not None and most < config.min_batch_size:
            what = f"{key} {most} is less than min_batch_size {config.min_batch_size}"
            raise LidError(what, where=where, mend="correct one of them")
    shortest = round(SHORTEST_CROP_S * config.preprocessor_conf.sample_rate)
    if config.batch_bins < shortest * config.min_batch_size:
        what = (
            f"batch_bins {config.batch_bins} leaves less than {SHORTEST_CROP_S} s ({shortest} samples) "
            f"for each of min_batch_size {config.min_batch_size} utterances"
        )
        raise LidError(what, where=where, mend="raise batch_bins")


def _check_sharded(config: TrainConfig, where: object) -> None:
    """Raise LidError for a moving average of sharded weights: each process has only a part of them."""
    if config.sharded_ddp and config.ema_decay:
        raise LidError("ema_decay with sharded_ddp", where=where, mend="leave out one of them")


def _one_line(
    error: ValidationError, model: type[BaseModel], prefix: Sequence[str], where: object
) -> LidError:
    """Return the most helpful of pydantic's errors: an unknown key first, then a value that breaks a rule."""
    priority = {"extra_forbidden": 0, "value_error": 1}
    first = min(error.errors(), key=lambda fault: priority.get(fault["type"], len(priority)))
    keys = [str(part) for part in first["loc"]]
    parts: dict[str, type[BaseModel]] = {
        "preprocessor_conf": PreprocessorConf,
        "distill_conf": DistillConf,
        "adversary_conf": AdversaryConf,
    }
    known = (parts.get(keys[0], PreprocessorConf) if len(keys) > 1 else model).model_fields
    unknown = first["type"] == "extra_forbidden"
    if not unknown:  # for a union of types, pydantic's location also names the alternative
        keys[1:] = [key for key in keys[1:] if key in known]
    name = ".".join((*prefix, *keys))
    if unknown:
        mend = nearest(keys[-1], known, otherwise="docs/training.md lists the keys")
        return LidError(f"unknown key '{name}'", where=where, mend=mend)
    return LidError(
        f"{name}: {first['msg'].removeprefix('Value error, ')}", where=where, mend="correct the value"
    )
