"""Find, check and load pretrained speech encoders of ``transformers``, or build them without weights.

Weights are read from safetensors, or else with ``torch.load(weights_only=True)``. No code from a checkpoint
is run: ``trust_remote_code`` is false, and only those entries of a configuration are used that the class in
``transformers`` has, since others name modules of the checkpoint's author or kernels on the Hub. Files in a
folder or in the cache are loaded without network access. A model that is read from a model file or a package
looks nothing up (:mod:`lid_toolkit.models.sealed`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar, cast

import torch
from huggingface_hub.errors import StrictDataclassError

from lid_toolkit.errors import LidError
from lid_toolkit.models.frontends.pretrained.hub import hub_fault
from lid_toolkit.models.frontends.pretrained.upstream_types import Architecture, Config, Settings, Upstream
from lid_toolkit.models.sealed import is_sealed

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
Result = TypeVar("Result")
KNOWN = ("wav2vec2", "hubert", "wavlm", "wav2vec2-bert", "whisper")
WHERE = "frontend_conf.path_or_url"
HOUSEKEEPING = {"model_type", "_name_or_path", "architectures", "dtype", "transformers_version"}
"""Entries of a configuration that do not shape the model."""
# Exceptions of transformers for files that are missing, damaged, or have unexpected content.
BROKEN = (
    OSError,
    json.JSONDecodeError,
    RuntimeError,
    LookupError,
    AttributeError,
    TypeError,
    StrictDataclassError,
    pickle.UnpicklingError,
    EOFError,
    ArithmeticError,
    UnicodeDecodeError,
)


def choose_architecture(
    stored: Mapping[str, object] | None, source: str, cache_dir: str | None
) -> Architecture:
    """Return the architecture stored in a model file; None means that of the checkpoint ``source``.

    Raises:
        LidError: as :func:`read_architecture`.
    """
    return cast(Architecture, stored) if stored else read_architecture(source, cache_dir)


def read_architecture(source: str, cache_dir: str | None) -> Architecture:
    """Return a description of an encoder without its weights, as plain values for a model file.

    Args:
        source: folder, or name on the Hugging Face Hub.
        cache_dir: directory for downloads; None for Hugging Face's cache.

    Returns:
        ``config``: the checkpoint's configuration. ``normalize_wave``: whether it was trained on waveforms
        of zero mean and unit variance, according to its ``preprocessor_config.json``; without this file,
        whether its convolutions have layer normalisation, as in XLS-R and MMS. ``revision``: the commit on
        the Hub; None for a folder.

    Raises:
        LidError: the model does not exist, or its type is not supported.
    """
    from transformers import AutoConfig, SequenceFeatureExtractor

    def read_config(**where: object) -> Config:
        try:
            config: Config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        except ValueError as error:  # a type that is unknown to transformers
            own_code = "trust_remote_code" in str(error)
            raise OSError("it needs code of its author, which is not run" if own_code else error) from error
        return config

    config = _found(source, read_config, cache_dir)
    if config.model_type not in KNOWN:
        raise LidError(
            f"{source}: type '{config.model_type}' is not supported",
            where=WHERE,
            mend=f"supported are {', '.join(KNOWN)}",
        )
    try:
        read = SequenceFeatureExtractor.get_feature_extractor_dict
        inputs = _found(source, lambda **where: read(source, **where)[0], cache_dir)
    except LidError:
        inputs = None
    if not isinstance(inputs, dict | None):
        what = f"preprocessor_config.json of {source} is not a mapping"
        raise LidError(what, where=WHERE, mend="download the file again, or remove it")
    return {**_architecture(config, inputs), "revision": _revision(source, cache_dir)}


def described(config: Settings, inputs: Settings | None) -> Architecture:
    """Return the result of :func:`read_architecture` for files that were read already; nothing is looked up.

    Args:
        config: content of a checkpoint's ``config.json``, of a type in ``KNOWN``.
        inputs: content of its ``preprocessor_config.json``; None if it has none.
    """
    return _architecture(known_config(config, {}), inputs)


def _architecture(config: Config, inputs: Settings | None) -> Architecture:
    layered = getattr(config, "feat_extract_norm", None) == "layer"
    normalize = layered if inputs is None else bool(inputs.get("do_normalize", False))
    return {"config": json.loads(config.to_json_string(use_diff=False)), "normalize_wave": normalize}


@contextlib.contextmanager
def refusing_nonsense(source: str) -> Iterator[None]:
    """Within the context, raise LidError for all that ``transformers`` raises for a wrong configuration."""
    try:
        yield
    except (*BROKEN, ValueError) as error:
        what = f"config.json has values that are not valid: {_reason(error)}"
        raise LidError(what, where=source, mend="download it again, or give another model") from error


def _revision(source: str, cache_dir: str | None) -> str | None:
    """Return the commit of the files in the cache for a name on the Hub; None for a folder."""
    from huggingface_hub import try_to_load_from_cache

    if Path(source).is_dir():
        return None
    config = try_to_load_from_cache(source, "config.json", cache_dir=cache_dir)
    return Path(config).parent.name if isinstance(config, str) else None


def make_encoder(
    architecture: Architecture,
    changes: Mapping[str, object],
    attention: Attention,
    source: str | None,
    cache_dir: str | None,
) -> Upstream:
    """Return a float32 model of transformers; for Whisper, encoder and decoder.

    Args:
        architecture: the result of :func:`read_architecture`.
        changes: entries of the configuration to set.
        attention: implementation of self-attention; ``auto`` leaves the choice to transformers.
        source: folder or name of the weights; None for random weights.
        cache_dir: as in :func:`read_architecture`.

    Raises:
        LidError: the weights are missing or have other shapes, or the attention is not installed.
    """
    from transformers import AutoModel

    # An adapter after the last layer would change the frame rate; the features are taken before it.
    without_adapter = {"add_adapter": False, "use_intermediate_ffn_before_adapter": False}
    config = known_config(architecture["config"], {**without_adapter, **changes})
    if is_sealed() and attention == "flash_attention_2":
        attention = "auto"  # where the package is missing, transformers takes its kernels from the Hub
    kind: dict[str, object] = {"dtype": torch.float32, "trust_remote_code": False}
    if attention != "auto":
        kind["attn_implementation"] = attention

    def load(**where: object) -> Upstream:
        model, report = AutoModel.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            adapter_kwargs=dict(where),  # otherwise it asks the Hub whether there is an adapter
            **kind,
            **where,
        )
        absent = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})
        if absent:
            raise OSError(f"{len(absent)} weights are missing, such as {absent[0]}")
        return model

    try:
        with _quiet():
            if source is None:
                model = AutoModel.from_config(config, **kind)
            else:
                model = _found(source, load, cache_dir)
    except (ImportError, ValueError) as error:
        raise LidError(
            f"attention '{attention}': {error}", where="frontend_conf.attention", mend="use auto"
        ) from error
    return model


def known_config(config: Settings, changes: Mapping[str, object]) -> Config:
    """Return a configuration of ``transformers`` with those entries that its class has, and changes to them.

    ``auto_map``, ``attn_implementation`` and ``quantization_config``, for example, are left out.
    """
    from transformers import AutoConfig

    known = AutoConfig.for_model(config["model_type"]).to_dict().keys() - HOUSEKEEPING
    kept = {key: value for key, value in config.items() if key in known}
    made: Config = AutoConfig.for_model(config["model_type"], **{**kept, **changes})
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and warnings about unused weights out of the log."""
    from transformers.utils import logging as their_logging

    level, bars = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if bars:
            their_logging.enable_progress_bar()


def _found(source: str, load: Callable[..., Result], cache_dir: str | None) -> Result:
    """Load from a folder, else from the cache, else from the Hub."""
    if is_sealed():
        raise LidError(
            f"the model lacks the configuration ('architecture') of its encoder '{source[:100]}'",
            where="frontend_conf",
            mend="pack the trained model again",
        )
    looks_like_path = source.startswith(("/", ".", "~")) or source.count("/") != 1
    if Path(source).is_dir() or (looks_like_path and "/" in source):
        return _loaded(source, load, local_files_only=True)
    try:
        return _loaded(source, load, local_files_only=True, cache_dir=cache_dir)
    except LidError:
        if (fault := hub_fault()) is not None:
            raise LidError(
                f"no model '{source}' in a folder or in the cache, and the Hub cannot be reached: "
                f"{_reason(fault)}",
                where=WHERE,
                mend="check name and network, or give a folder with config.json and model.safetensors",
            ) from fault
        logging.info("%s is not in the cache: asking the Hugging Face Hub", source)
        return _loaded(source, load, cache_dir=cache_dir)


def _loaded(source: str, load: Callable[..., Result], **where: object) -> Result:
    from safetensors import SafetensorError

    try:
        return load(**where)
    except (*BROKEN, SafetensorError) as error:
        raise LidError(
            f"no usable model '{source}' in a folder, in the cache or on the Hub: {_reason(error)}",
            where=WHERE,
            mend="check the name, or give a folder with config.json and model.safetensors",
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error; the whole message if the first line only names a key."""
    if isinstance(error, KeyError):
        return f"{error} is not known"
    if isinstance(error, pickle.UnpicklingError):
        return "its weights hold more than tensors, or are damaged"
    text = str(error).strip() or type(error).__name__
    return text if isinstance(error, StrictDataclassError) else text.partition("\n")[0]
