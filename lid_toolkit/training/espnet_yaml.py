"""ESPnet's configuration keys that are none here: some mean nothing here, some must be refused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from lid_toolkit.errors import LidError

DECIDED_ELSEWHERE = frozenset(
    {
        "adapter",
        "adapter_conf",
        "allow_variable_data_keys",
        "category_sample_size",
        "chunk_default_fs",
        "chunk_discard_short_samples",
        "chunk_excluded_key_prefixes",
        "chunk_length",
        "chunk_max_abs_length",
        "chunk_shift_ratio",
        "collect_stats",
        "config",
        "create_graph_in_tensorboard",
        "dist_backend",
        "dist_init_method",
        "dist_launcher",
        "dist_master_addr",
        "dist_master_port",
        "dist_rank",
        "dist_world_size",
        "distributed",
        "dry_run",
        "encoder_condition",
        "encoder_condition_conf",
        "fold_length",
        "gradient_as_bucket_view",
        "lang2utt",
        "lang_num",
        "local_rank",
        "log_level",
        "max_cache_fd",
        "max_cache_size",
        "model_conf",
        "multiprocessing_distributed",
        "ngpu",
        "num_att_plot",
        "num_cache_chunks",
        "num_eval",
        "output_dir",
        "pooling_condition",
        "pooling_condition_conf",
        "print_config",
        "projector_condition",
        "projector_condition_conf",
        "required",
        "resume",
        "rir_scp",
        "sample_rate",
        "shuffle_within_batch",
        "sort_batch",
        "sort_in_batch",
        "target_duration",
        "train_data_path_and_name_and_type",
        "train_shape_file",
        "valid_batch_size",
        "valid_batch_type",
        "valid_data_path_and_name_and_type",
        "valid_iterator_type",
        "valid_max_cache_size",
        "valid_shape_file",
        "version",
        "write_collected_feats",
    }
)
"""What the stages' options and directories decide, and what only acts beside keys that are refused."""

ONLY: Mapping[str, tuple[Collection[Any], str]] = {
    "use_deepspeed": ((False,), "set sharded_ddp: true for models that do not fit on one GPU"),
    "deepspeed_config": ((None,), "set sharded_ddp: true for models that do not fit on one GPU"),
    "ddp_comm_hook": ((None,), "leave it out"),
    "grad_noise": ((False,), "leave it out"),
    "no_forward_run": ((False,), "leave it out"),
    "train_dtype": (("float32",), "use_amp and amp_dtype choose the number format"),
    "use_adapter": ((False,), "LoRA is an argument of the front end"),
    "save_strategy": (("all",), "model files hold all weights"),
    "exclude_weight_decay_conf": (({},), "optim_groups sets weight_decay for parts of the model"),
    "init": ((None,), "parts have their own initial weights"),
    "pretrain_path": ((None,), "name the file in init_param"),
    "nbest_averaging_interval": ((0,), "the best epochs are averaged once, at the end"),
    "multiple_iterator": ((False,), "leave it out"),
    "multi_task_dataset": ((False,), "leave it out"),
    "allow_multi_rates": ((False,), "stage 3 brings all audio to one rate"),
    "use_preprocessor": ((True,), "switch its parts off in preprocessor_conf"),
    "model": (("espnet",), "the one model is espnet; that of the recipe geolid is not there"),
    "wandb_model_log_interval": ((-1,), "models stay in the experiment directory"),
}
"""Keys of which some values say what is done here anyway, and advice for the others."""


def without_espnet_keys(raw: Mapping[str, Any], known: Collection[str], where: object) -> dict[str, Any]:
    """Return the settings without ESPnet's keys that have no meaning here.

    Args:
        raw: settings by name.
        known: keys that do have a meaning.
        where: the file, for messages.

    Raises:
        LidError: a key asks for what this toolkit does not do.
    """
    left_out = sorted(key for key in raw if key in DECIDED_ELSEWHERE and key not in known)
    if left_out:
        logging.info("%s: left to the stages' options and directories: %s", where, " ".join(left_out))
    for key, (values, advice) in ONLY.items():
        if key in raw and raw[key] not in values:
            raise LidError(f"{key}: {raw[key]} is not supported", where=where, mend=advice)
    return {key: value for key, value in raw.items() if key not in left_out and key not in ONLY}
