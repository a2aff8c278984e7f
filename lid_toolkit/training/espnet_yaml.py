"""YAML keys of ESPnet that this toolkit does not have: some can be ignored, others are refused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet_names import LID1_ONLY, MODELS
from lid_toolkit.training.espnet_lora import USE_ADAPTER

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

UNMEASURED = "acc"
"""A measure in ESPnet's default criteria that its ``lid1`` does not have."""

RENAMED: Mapping[str, str] = {"language_upsampling_factor": "category_upsampling_factor"}
"""Former names of ESPnet's keys, with the present names."""


def has_espnet_keys(raw: Mapping[str, object]) -> bool:
    """Return whether the settings have keys that only ESPnet has."""
    return not raw.keys().isdisjoint({*IGNORED, *FIXED, *RENAMED, USE_ADAPTER})


def without_espnet_keys(
    raw: Mapping[str, object], known: Collection[str], where: object
) -> dict[str, object]:
    """Return the settings with present names of keys, and without the keys that only ESPnet has.

    Args:
        raw: settings by name.
        known: keys of this toolkit.
        where: the file, for messages.

    Raises:
        LidError: a key asks for something that this toolkit does not support, or is there under two names.
    """
    for former, present in RENAMED.items():
        if former in raw and present in raw:
            what = f"{former} is the former name of {present}"
            raise LidError(what, where=where, mend="leave out one of them")
    ignored = sorted(key for key in raw if key in IGNORED and key not in known)
    if ignored:
        logging.info("%s: keys of ESPnet are ignored: %s", where, _grouped(ignored))
    for key, (values, advice) in FIXED.items():
        if key in raw and raw[key] not in values:
            raise LidError(f"{key}: {raw[key]} is not supported", where=where, mend=advice)
    kept = {key: value for key, value in raw.items() if key not in ignored and key not in FIXED}
    return _as_espnet_reads({RENAMED.get(key, key): value for key, value in kept.items()})


def _as_espnet_reads(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings with two of ESPnet's defaults as its ``lid1`` reads them.

    With ``iterator_type: category``, the batch type ``folded`` is ``catbel``. Criteria of ``acc``, a measure
    that does not exist, are left out.
    """
    read = dict(settings)
    if (read.get("iterator_type"), read.get("batch_type")) == ("category", "folded"):
        read["batch_type"] = "catbel"
    criteria = read.get("best_model_criterion")
    if isinstance(criteria, (list, tuple)):
        read["best_model_criterion"] = [
            criterion for criterion in criteria if list(criterion)[1:2] != [UNMEASURED]
        ]
    return read


def _grouped(ignored: Collection[str]) -> str:
    """Return the names of a few keys; of more, the number of each topic."""
    if len(ignored) <= FEW:
        return " ".join(ignored)
    counts = {topic: len(set(keys).intersection(ignored)) for topic, keys in IGNORED_GROUPS.items()}
    return f"{len(ignored)} ({', '.join(f'{topic} {count}' for topic, count in counts.items() if count)})"
