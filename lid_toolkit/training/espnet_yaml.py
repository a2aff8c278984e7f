"""YAML keys of ESPnet that this toolkit does not have: some are translated or ignored, others are refused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from pydantic import ValidationError

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.importers.espnet import LID1_ONLY, MODELS
from lid_toolkit.models.frontends.pretrained.adapt import Lora

FEW = 6
IGNORED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "options and directories": (
        "collect_stats",
        "config",
        "dry_run",
        "lang2utt",
        "lang_num",
        "log_level",
        "ngpu",
        "output_dir",
        "print_config",
        "required",
        "resume",
        "rir_scp",
        "sample_rate",
        "target_duration",
        "train_data_path_and_name_and_type",
        "train_shape_file",
        "valid_data_path_and_name_and_type",
        "valid_shape_file",
        "version",
        "write_collected_feats",
    ),
    "distributed training": (
        "dist_backend",
        "dist_init_method",
        "dist_launcher",
        "dist_master_addr",
        "dist_master_port",
        "dist_rank",
        "dist_world_size",
        "distributed",
        "gradient_as_bucket_view",
        "local_rank",
        "multiprocessing_distributed",
    ),
    "batches and caches": (
        "allow_variable_data_keys",
        "category_sample_size",
        "chunk_default_fs",
        "chunk_discard_short_samples",
        "chunk_excluded_key_prefixes",
        "chunk_length",
        "chunk_max_abs_length",
        "chunk_shift_ratio",
        "fold_length",
        "max_cache_fd",
        "max_cache_size",
        "num_cache_chunks",
        "num_eval",
        "shuffle_within_batch",
        "sort_batch",
        "sort_in_batch",
        "valid_batch_size",
        "valid_batch_type",
        "valid_iterator_type",
        "valid_max_cache_size",
    ),
    "parts that are not used": (
        "adapter",
        "adapter_conf",
        "create_graph_in_tensorboard",
        "encoder_condition",
        "encoder_condition_conf",
        "model_conf",
        "num_att_plot",
        "pooling_condition",
        "pooling_condition_conf",
        "projector_condition",
        "projector_condition_conf",
        "save_strategy",
    ),
}
"""Keys of what options and directories decide here, and keys that only matter with refused ones, by topic."""
IGNORED = frozenset(key for keys in IGNORED_GROUPS.values() for key in keys)

FIXED: Mapping[str, tuple[Collection[object], str]] = {
    "use_deepspeed": ((False,), "set sharded_ddp: true for models that do not fit on one GPU"),
    "deepspeed_config": ((None,), "set sharded_ddp: true for models that do not fit on one GPU"),
    "ddp_comm_hook": ((None,), "leave it out"),
    "grad_noise": ((False,), "leave it out"),
    "no_forward_run": ((False,), "leave it out"),
    "train_dtype": (("float32",), "use_amp and amp_dtype choose the number format"),
    "exclude_weight_decay_conf": (({},), "optim_groups sets weight_decay for parts of the model"),
    "init": ((None,), "parts have their own initial weights"),
    "pretrain_path": ((None,), "name the file in init_param"),
    "nbest_averaging_interval": ((0,), "the best epochs are averaged once, at the end"),
    "multiple_iterator": ((False,), "leave it out"),
    "multi_task_dataset": ((False,), "leave it out"),
    "allow_multi_rates": ((False,), "formatting converts all audio to one rate"),
    "use_preprocessor": ((True,), "switch its parts off in preprocessor_conf"),
    "model": (MODELS, LID1_ONLY),
    "wandb_model_log_interval": ((-1,), "models stay in the experiment directory"),
}
"""Keys with the values that agree with what this toolkit does, and advice for all other values."""

ADAPTED = ("s3prl", "transformers")
ADAPTER_CONF: Mapping[str, str] = {
    "rank": "rank",
    "alpha": "alpha",
    "dropout_rate": "dropout",
    "target_modules": "target_modules",
}
"""Arguments of ESPnet's LoRA, and of ``lora``. ``bias_type`` has no effect in ESPnet 202511."""


def with_lora(raw: Mapping[str, object], where: object) -> dict[str, object]:
    """Return the settings with ESPnet's ``adapter`` and ``adapter_conf`` as the front end's ``lora``.

    As in ESPnet, the encoder itself is frozen only if ``freeze_param`` says so.

    Args:
        raw: settings by name.
        where: the file, for messages.

    Raises:
        LidError: an adapter or an argument that is not supported.
    """
    settings = {key: value for key, value in raw.items() if key != "use_adapter"}
    if not raw.get("use_adapter"):
        return settings
    kind, conf = settings.pop("adapter", "lora"), settings.pop("adapter_conf", None) or {}
    frontend, frontend_conf = raw.get("frontend"), raw.get("frontend_conf") or {}
    if kind != "lora":
        raise LidError(f"adapter: {kind} is not supported", where=where, mend="set adapter: lora")
    if frontend not in ADAPTED:
        what = f"use_adapter: frontend '{frontend}' cannot be adapted"
        raise LidError(what, where=where, mend=f"set use_adapter: false, or frontend: {' or '.join(ADAPTED)}")
    if not isinstance(conf, Mapping) or not isinstance(frontend_conf, Mapping):
        what = "adapter_conf and frontend_conf must be lists of 'key: value' lines"
        raise LidError(what, where=where, mend="correct the value")
    if "lora" in frontend_conf:
        what = "both use_adapter and frontend_conf.lora"
        raise LidError(what, where=where, mend="leave out one of them")
    frozen = raw.get("freeze_param") or ()
    if not {"frontend", "frontend.upstream"}.intersection(frozen if isinstance(frozen, list) else [frozen]):
        logging.warning(
            "%s: the encoder is trained together with its adapters, as in ESPnet; "
            "to train only the adapters, add freeze_param: [frontend.upstream]",
            where,
        )
    return {**settings, "frontend_conf": {**frontend_conf, "lora": _lora(conf, where)}}


def _lora(conf: Mapping[str, object], where: object) -> dict[str, object]:
    """Return the arguments of ``lora`` that are equivalent to ESPnet's ``adapter_conf``."""
    if conf.get("bias_type") not in (None, "none"):
        what = f"adapter_conf: bias_type: {conf['bias_type']} is not supported"
        raise LidError(what, where=where, mend="leave it out; it has no effect in ESPnet either")
    given = {key: value for key, value in conf.items() if key != "bias_type"}
    for key in given:
        if key not in ADAPTER_CONF:
            known = (*ADAPTER_CONF, "bias_type")
            raise LidError(f"adapter_conf: unknown key '{key}'", where=where, mend=nearest(str(key), known))
    ours = {ADAPTER_CONF[key]: value for key, value in given.items()}
    try:
        lora = Lora.model_validate({**ours, "frozen": False})
    except ValidationError as error:
        first = error.errors()[0]
        theirs = next(key for key, name in ADAPTER_CONF.items() if name == first["loc"][0])
        raise LidError(
            f"adapter_conf: {theirs}: {first['msg']}", where=where, mend="correct the value"
        ) from error
    return lora.model_dump()


def without_espnet_keys(
    raw: Mapping[str, object], known: Collection[str], where: object
) -> dict[str, object]:
    """Return the settings without the keys that only ESPnet has.

    Args:
        raw: settings by name.
        known: keys of this toolkit.
        where: the file, for messages.

    Raises:
        LidError: a key asks for something that this toolkit does not support.
    """
    ignored = sorted(key for key in raw if key in IGNORED and key not in known)
    if ignored:
        logging.info("%s: keys of ESPnet are ignored: %s", where, _grouped(ignored))
    for key, (values, advice) in FIXED.items():
        if key in raw and raw[key] not in values:
            raise LidError(f"{key}: {raw[key]} is not supported", where=where, mend=advice)
    return {key: value for key, value in raw.items() if key not in ignored and key not in FIXED}


def _grouped(ignored: Collection[str]) -> str:
    """Return the names of a few keys; of more, the number of each topic."""
    if len(ignored) <= FEW:
        return " ".join(ignored)
    counts = {topic: len(set(keys).intersection(ignored)) for topic, keys in IGNORED_GROUPS.items()}
    return f"{len(ignored)} ({', '.join(f'{topic} {count}' for topic, count in counts.items() if count)})"
