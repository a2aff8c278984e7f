"""The front end of ESPnet's LID recipe, which uses s3prl (``frontend: s3prl``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.arguments import SamplingRate
from lid_toolkit.models.frontends.pretrained.frontend import TransformersFrontend
from lid_toolkit.models.frontends.pretrained.inputs import RATE
from lid_toolkit.models.frontends.pretrained.load import choose_architecture
from lid_toolkit.models.frontends.pretrained.lora import Lora
from lid_toolkit.models.frontends.pretrained.s3prl_names import (
    WHERE,
    S3prlUpstream,
    checkpoint_name,
    find_upstream,
)

FIXED = {"tile_factor": 1, "extra_conf": None}
KNOWN = ("upstream", "path_or_url", "normalize", *FIXED)
FAIRSEQ_MAPS = {"fc1": "intermediate_dense", "fc2": "output_dense"}
"""Names of linear maps in the checkpoints of s3prl that are called otherwise in ``transformers``."""


def s3prl(
    frontend_conf: dict[str, object],
    fs: SamplingRate = 16000,
    download_dir: str | None = None,
    multilayer_feature: bool = False,
    layer: Annotated[int, Field(ge=-1)] = -1,
    lora: Lora | None = None,
    architecture: dict[str, object] | None = None,
) -> TransformersFrontend:
    """Return the equivalent of ESPnet's ``s3prl``, with the same encoder from transformers.

    As in ESPnet, the whole encoder is trained. ``hf_wav2vec2_custom`` and ``hf_hubert_custom`` are trained
    with the masks and the layer drop of the checkpoint's configuration, and other upstreams without any.

    Args:
        frontend_conf: ``upstream``; ``path_or_url``, a folder or a name on the Hugging Face Hub, optional
            for upstreams that name a checkpoint; and, optionally, ``normalize`` (``layer_norm`` of
            ``transformers``), ``tile_factor: 1`` and ``extra_conf: null``.
        fs: sampling rate, which must be 16000.
        download_dir: directory for downloads.
        multilayer_feature: sum all layers with learnt weights; else use the last layer.
        layer: the only layer to use; -1 to follow ``multilayer_feature``.
        lora: as in ``transformers``; ESPnet's ``adapter_conf`` sets it.
        architecture: as in ``transformers``.
    """
    if fs != RATE:
        raise LidError(f"fs {fs}", where="frontend_conf", mend=f"these encoders take {RATE} Hz")
    check_arguments(frontend_conf)
    if layer >= 0 and multilayer_feature:
        raise LidError(
            "both layer and multilayer_feature", where="frontend_conf", mend="leave out one of them"
        )
    upstream, source = find_upstream(frontend_conf), checkpoint_name(frontend_conf)
    check_family(upstream, source, download_dir, architecture)
    hidden = 0.0 if upstream.hub else None
    if lora is not None and lora.target_modules and upstream.hub:
        targets = [FAIRSEQ_MAPS.get(name, name) for name in lora.target_modules]
        lora = lora.model_copy(update={"target_modules": targets})
    return TransformersFrontend(
        source,
        layers=[layer] if layer >= 0 else "all" if multilayer_feature else "last",
        layer_norm=bool(frontend_conf.get("normalize", False)),
        lora=lora,
        layerdrop=hidden,
        mask_time_prob=hidden,
        mask_time_length=None,
        mask_feature_prob=hidden,
        mask_feature_length=None,
        wave_norm=upstream.wave_norm,
        repeat_last=True,
        download_dir=download_dir,
        architecture=architecture,
    )


def check_arguments(conf: Mapping[str, object]) -> None:
    """Raise LidError for arguments that ESPnet passes to s3prl and that are not supported here."""
    for key, value in conf.items():
        if key not in KNOWN:
            raise LidError(f"unknown argument '{key}'", where=WHERE, mend=nearest(key, KNOWN))
        if key in FIXED and value != FIXED[key]:
            raise LidError(f"{key} {value} is not supported", where=WHERE, mend="leave it out")


def check_family(
    upstream: S3prlUpstream, source: str, download_dir: str | None, architecture: dict[str, object] | None
) -> None:
    """Raise LidError if the checkpoint holds an encoder of another kind than the upstream."""
    kind = choose_architecture(architecture, source, download_dir)["config"]["model_type"]
    if kind != upstream.family:
        raise LidError(
            f"{source} is of type '{kind}', but the upstream is of type '{upstream.family}'",
            where=WHERE,
            mend="name another upstream or checkpoint, or use frontend: transformers",
        )
