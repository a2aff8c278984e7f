"""The front end of ESPnet's LID recipe, which uses s3prl (``frontend: s3prl``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.arguments import SamplingRate
from lid_toolkit.models.frontends.pretrained.frontend import TransformersFrontend
from lid_toolkit.models.frontends.pretrained.inputs import RATE


def s3prl(
    frontend_conf: dict[str, object],
    fs: SamplingRate = 16000,
    download_dir: str | None = None,
    multilayer_feature: bool = False,
    layer: Annotated[int, Field(ge=-1)] = -1,
    architecture: dict[str, object] | None = None,
) -> TransformersFrontend:
    """Return the equivalent of ESPnet's ``s3prl`` with ``upstream: hf_wav2vec2_custom``.

    It uses transformers. As in ESPnet, the whole encoder is trained, with the masks and the layer drop of the
    checkpoint's configuration.

    Args:
        frontend_conf: ``upstream``, ``path_or_url`` and, optionally, ``normalize`` (``layer_norm`` of
            ``transformers``), ``tile_factor: 1`` and ``extra_conf: null``.
        fs: sampling rate, which must be 16000.
        download_dir: directory for downloads.
        multilayer_feature: sum all layers with learnt weights; else use the last layer.
        layer: the only layer to use; -1 to follow ``multilayer_feature``.
        architecture: as in ``transformers``.
    """
    if fs != RATE:
        raise LidError(f"fs {fs}", where="frontend_conf", mend=f"these encoders take {RATE} Hz")
    check_s3prl(frontend_conf)
    if layer >= 0 and multilayer_feature:
        raise LidError(
            "both layer and multilayer_feature", where="frontend_conf", mend="leave out one of them"
        )
    return TransformersFrontend(
        str(frontend_conf["path_or_url"]),
        layers=[layer] if layer >= 0 else "all" if multilayer_feature else "last",
        layer_norm=bool(frontend_conf.get("normalize", False)),
        layerdrop=None,
        mask_time_prob=None,
        mask_time_length=None,
        mask_feature_prob=None,
        mask_feature_length=None,
        repeat_last=True,
        download_dir=download_dir,
        architecture=architecture,
    )


def check_s3prl(conf: Mapping[str, object]) -> None:
    """Raise LidError for arguments that ESPnet passes to s3prl and that are not supported here."""
    where, fixed = "frontend_conf.frontend_conf", {"tile_factor": 1, "extra_conf": None}
    known = ("upstream", "path_or_url", "normalize", *fixed)
    for key, value in conf.items():
        if key not in known:
            raise LidError(f"unknown argument '{key}'", where=where, mend=nearest(key, known))
        if key in fixed and value != fixed[key]:
            raise LidError(f"{key} {value} is not supported", where=where, mend="leave it out")
    if conf.get("upstream") != "hf_wav2vec2_custom" or "path_or_url" not in conf:
        raise LidError(
            f"upstream '{conf.get('upstream')}' of s3prl is not supported",
            where=where,
            mend="set upstream: hf_wav2vec2_custom and path_or_url, or use frontend: transformers",
        )
