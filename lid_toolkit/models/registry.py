"""The components of this toolkit by kind and name.

A new component needs its module and one line here. Tests and documentation find it through this table; all
other facts are in its module (:func:`.arguments.component`). A line names a class or function of
``lid_toolkit.models`` as ``module:Name``. The module is imported when the component is used, so this table
can be read without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.external import EVERY, NONE, Packages, find_external, is_external

if TYPE_CHECKING:
    from torch import nn

    from lid_toolkit.models.protocols import Kind

COMPONENTS: Mapping[Kind, Mapping[str, str]] = {
    "frontend": {
        "default": "frontends.log_mel:LogMelFrontend",
        "melspec_torch": "frontends.mel_spectrogram:MelSpectrogramFrontend",
        "sliding_window": "frontends.sliding_window:SlidingWindowFrontend",
        "transformers": "frontends.pretrained.frontend:TransformersFrontend",
        "s3prl": "frontends.pretrained.s3prl:s3prl",
        "whisper_language": "frontends.pretrained.whisper_language:WhisperLanguageFrontend",
        "fused": "frontends.fused:fused",
        "onnx_scores": "frontends.onnx_scores:OnnxScores",
        "nemo_mel": "frontends.nemo_mel:NemoMel",
        "speechbrain_fbank": "frontends.speechbrain_fbank:SpeechBrainFbank",
    },
    "specaug": {"specaug": "specaug:SpecAug"},
    "normalize": {"utterance_mvn": "normalize:UtteranceMVN", "global_mvn": "normalize:GlobalMVN"},
    "encoder": {
        "ecapa_tdnn": "encoders.ecapa_tdnn:EcapaTdnnEncoder",
        "xvector": "encoders.xvector:XvectorEncoder",
        "rawnet3": "encoders.rawnet3:RawNet3Encoder",
        "ska_tdnn": "encoders.ska_tdnn:SkaTdnnEncoder",
        "mfaconformer": "encoders.mfa_conformer:MfaConformerEncoder",
        "identity": "encoders.identity:IdentityEncoder",
        "nemo_conv": "encoders.nemo_conv:NemoConvEncoder",
        "speechbrain_ecapa": "encoders.speechbrain_ecapa:SpeechBrainEcapaEncoder",
    },
    "pooling": {
        "chn_attn_stat": "poolings:ChannelAttentiveStatistics",
        "stats": "poolings:StatisticsPooling",
        "mean": "poolings:MeanPooling",
        "speechbrain_asp": "poolings:SpeechBrainAttentiveStatistics",
    },
    "projector": {
        "rawnet3": "projectors:RawNet3Projector",
        "ska_tdnn": "projectors:SkaTdnnProjector",
        "xvector": "projectors:XvectorProjector",
        "linear": "projectors:LinearProjector",
        "identity": "projectors:IdentityProjector",
    },
    "loss": {
        "aamsoftmax_sc_topk": "losses:aamsoftmax_sc_topk",
        "aamsoftmax": "losses:aamsoftmax",
        "softmax": "losses:softmax",
        "dnn_softmax": "classifiers:DnnSoftmax",
        "linear_softmax": "classifiers:LinearSoftmax",
        "linear_sigmoid": "classifiers:LinearSigmoid",
    },
}
OPTIONAL: tuple[Kind, ...] = ("specaug", "normalize")
"""Optional kinds."""
WITHOUT_STATISTICS = (None, "utterance_mvn")
"""Normalisers known to need no statistics, here because most trainings have one of them."""


def find(kind: Kind, name: object, external: Packages = NONE) -> Callable[..., nn.Module]:
    """Return the class of a component, or the function that makes it.

    Args:
        kind: key of the component in a training YAML.
        name: a name of ``COMPONENTS``, or ``package.module:Class`` of an installed package.
        external: packages that ``name`` may come from, see :mod:`lid_toolkit.models.external`.

    Raises:
        LidError: the name is unknown (the message names the nearest known one), or cannot be imported.
    """
    known = COMPONENTS[kind]
    if isinstance(name, str) and is_external(name):
        return find_external(kind, name, external)
    if not isinstance(name, str) or name not in known:
        raise LidError(f"unknown {kind} '{name}'", where=kind, mend=nearest(str(name), known))
    module, _, attribute = known[name].partition(":")
    make: Callable[..., nn.Module] = getattr(
        importlib.import_module(f"lid_toolkit.models.{module}"), attribute
    )
    return make


def needs_statistics(description: Mapping[str, object], external: Packages = EVERY) -> bool:
    """Return whether the normaliser uses statistics of the training set; it is not built for this."""
    name = description.get("normalize")
    if name in WITHOUT_STATISTICS:
        return False
    return bool(getattr(find("normalize", name, external), "needs_statistics", False))
