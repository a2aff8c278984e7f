"""Upstreams of s3prl by name: the same encoders for ``transformers``.

s3prl loads most upstreams from checkpoints of fairseq or WavLM's authors. The Hugging Face Hub has the same
weights under other names. s3prl runs them without masks and layer drop, also in training, and normalises the
waveforms as they were in pretraining. ``preprocessor_config.json`` on the Hub does not always say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.frontends.pretrained.inputs import WaveNorm

WHERE = "frontend_conf.frontend_conf"


@dataclass(frozen=True)
class S3prlUpstream:
    """An upstream of s3prl.

    Attributes:
        family: its ``model_type`` in ``transformers``.
        hub: name of the same weights on the Hugging Face Hub; None if ``path_or_url`` names a checkpoint of
            ``transformers``, which s3prl then uses with its masks and layer drop.
        wave_norm: normalisation of the waveform; None for the checkpoint's.
    """

    family: str
    hub: str | None = None
    wave_norm: WaveNorm | None = None


_WAVLM_BASE_PLUS = S3prlUpstream("wavlm", "microsoft/wavlm-base-plus", "none")
_HUBERT_BASE = S3prlUpstream("hubert", "facebook/hubert-base-ls960", "none")
_WAV2VEC2_BASE = S3prlUpstream("wav2vec2", "facebook/wav2vec2-base", "none")
UPSTREAMS: Mapping[str, S3prlUpstream] = {
    "hf_hubert_custom": S3prlUpstream("hubert"),
    "hf_wav2vec2_custom": S3prlUpstream("wav2vec2"),
    "hubert": _HUBERT_BASE,
    "hubert_base": _HUBERT_BASE,
    "hubert_large_ll60k": S3prlUpstream("hubert", "facebook/hubert-large-ll60k", "layer_norm"),
    "wav2vec2": _WAV2VEC2_BASE,
    "wav2vec2_base_960": _WAV2VEC2_BASE,
    "wav2vec2_large_960": S3prlUpstream("wav2vec2", "facebook/wav2vec2-large", "none"),
    "wav2vec2_large_ll60k": S3prlUpstream("wav2vec2", "facebook/wav2vec2-large-lv60", "layer_norm"),
    "wav2vec2_large_lv60_cv_swbd_fsh": S3prlUpstream(
        "wav2vec2", "facebook/wav2vec2-large-robust", "layer_norm"
    ),
    "wav2vec2_large_voxpopuli_100k": S3prlUpstream(
        "wav2vec2", "facebook/wav2vec2-large-100k-voxpopuli", "layer_norm"
    ),
    "wavlm": _WAVLM_BASE_PLUS,
    "wavlm_base": S3prlUpstream("wavlm", "microsoft/wavlm-base", "none"),
    "wavlm_base_plus": _WAVLM_BASE_PLUS,
    "wavlm_large": S3prlUpstream("wavlm", "microsoft/wavlm-large", "layer_norm"),
    "xls_r_1b": S3prlUpstream("wav2vec2", "facebook/wav2vec2-xls-r-1b", "layer_norm"),
    "xls_r_2b": S3prlUpstream("wav2vec2", "facebook/wav2vec2-xls-r-2b", "layer_norm"),
    "xls_r_300m": S3prlUpstream("wav2vec2", "facebook/wav2vec2-xls-r-300m", "layer_norm"),
    "xlsr_53": S3prlUpstream("wav2vec2", "facebook/wav2vec2-large-xlsr-53", "layer_norm"),
}
OTHERS = "use one of the upstreams in docs/frontends.md, or frontend: transformers"


def find_upstream(conf: Mapping[str, object]) -> S3prlUpstream:
    """Return the upstream that ESPnet's arguments for s3prl name.

    Raises:
        LidError: it is not supported; the message has the nearest supported name if one is similar.
    """
    name = str(conf.get("upstream"))
    if name not in UPSTREAMS:
        mend = nearest(name, UPSTREAMS, OTHERS)
        raise LidError(f"upstream '{name}' of s3prl is not supported", where=WHERE, mend=mend)
    return UPSTREAMS[name]


def checkpoint_name(conf: Mapping[str, object]) -> str:
    """Return the folder or the name on the Hub of the encoder that ESPnet's arguments for s3prl name.

    Raises:
        LidError: the upstream is not supported, or needs a ``path_or_url`` and has none.
    """
    source = conf.get("path_or_url") or find_upstream(conf).hub
    if source is None:
        what = f"upstream '{conf['upstream']}' needs path_or_url"
        raise LidError(what, where=WHERE, mend="name a folder, or a model on the Hugging Face Hub")
    return str(source)
