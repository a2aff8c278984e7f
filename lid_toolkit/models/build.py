"""A model from its description: components chosen by name, with ESPnet's names and arguments.

To add a component, write it in a module of its own and name it in ``COMPONENTS``. Its parameters
are its configuration: annotations give their types (pydantic checks them), defaults their defaults,
and the ``Args`` section of its docstring their lines in docs/models.md. What its neighbours decide
(``input_size``, ``embedding_size``, ``classes``) is passed in by keyword and is no key of the YAML.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.arguments import Positive, SamplingRate
from lid_toolkit.models.classifiers import DnnSoftmax, LinearSoftmax
from lid_toolkit.models.encoders.ecapa_tdnn import EcapaTdnnEncoder
from lid_toolkit.models.encoders.identity import IdentityEncoder
from lid_toolkit.models.encoders.mfa_conformer import MfaConformerEncoder
from lid_toolkit.models.encoders.rawnet3 import RawNet3Encoder
from lid_toolkit.models.encoders.ska_tdnn import SkaTdnnEncoder
from lid_toolkit.models.encoders.speechbrain_ecapa import (
    SpeechBrainAttentiveStatistics,
    SpeechBrainEcapaEncoder,
)
from lid_toolkit.models.encoders.xvector import XvectorEncoder
from lid_toolkit.models.frontends.fused import FusedFrontend
from lid_toolkit.models.frontends.log_mel import LogMelFrontend, PrecomputedFeatures
from lid_toolkit.models.frontends.mel_spectrogram import MelSpectrogramFrontend
from lid_toolkit.models.frontends.pretrained.frontend import TransformersFrontend, s3prl
from lid_toolkit.models.frontends.pretrained.whisper_language import WhisperLanguageFrontend
from lid_toolkit.models.frontends.sliding_window import SlidingWindowFrontend
from lid_toolkit.models.frontends.speechbrain_fbank import SpeechBrainFbank
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.losses import aamsoftmax, aamsoftmax_sc_topk, softmax
from lid_toolkit.models.normalize import GlobalMVN, UtteranceMVN
from lid_toolkit.models.poolings import ChannelAttentiveStatistics, MeanPooling, StatisticsPooling
from lid_toolkit.models.projectors import (
    IdentityProjector,
    RawNet3Projector,
    SkaTdnnProjector,
    XvectorProjector,
)
from lid_toolkit.models.specaug import SpecAug


def fused(
    frontends: Annotated[list[dict[str, Any]], Field(min_length=2)],
    proj_dim: Positive = 100,
    fs: SamplingRate = 16000,
) -> FusedFrontend:
    """Return several front ends beside each other (:class:`.FusedFrontend`).

    Args:
        frontends: two or more front ends: ``frontend_type``, its name, and its arguments; not
            those that give one frame for an utterance.
        proj_dim: features that each contributes.
        fs: sampling rate in Hz of those that name none.
    """
    parts = []
    for conf in frontends:
        if makes_one_vector(name := conf.get("frontend_type"), conf):
            what = f"{name} has one frame for an utterance, and would cut the others to it"
            raise LidError(what, where="frontend_conf.frontends", mend="leave it or language_token out")
        make = COMPONENTS["frontend"].get(conf.get("frontend_type", ""))
        rate = {"fs": fs} if make is not None and "fs" in arguments_model(make).model_fields else {}
        own = {key: value for key, value in conf.items() if key != "frontend_type"}
        parts.append(build_component("frontend", conf.get("frontend_type"), {**rate, **own}, {}))
    return FusedFrontend(parts, proj_dim)


COMPONENTS: Mapping[str, Mapping[str, Callable[..., nn.Module]]] = {
    "frontend": {
        "default": LogMelFrontend,
        "melspec_torch": MelSpectrogramFrontend,
        "sliding_window": SlidingWindowFrontend,
        "transformers": TransformersFrontend,
        "s3prl": s3prl,
        "whisper_language": WhisperLanguageFrontend,
        "fused": fused,
        "speechbrain_fbank": SpeechBrainFbank,
    },
    "specaug": {"specaug": SpecAug},
    "normalize": {"utterance_mvn": UtteranceMVN, "global_mvn": GlobalMVN},
    "encoder": {
        "ecapa_tdnn": EcapaTdnnEncoder,
        "xvector": XvectorEncoder,
        "rawnet3": RawNet3Encoder,
        "ska_tdnn": SkaTdnnEncoder,
        "mfaconformer": MfaConformerEncoder,
        "identity": IdentityEncoder,
        "speechbrain_ecapa": SpeechBrainEcapaEncoder,
    },
    "pooling": {
        "chn_attn_stat": ChannelAttentiveStatistics,
        "stats": StatisticsPooling,
        "mean": MeanPooling,
        "speechbrain_asp": SpeechBrainAttentiveStatistics,
    },
    "projector": {
        "rawnet3": RawNet3Projector,
        "ska_tdnn": SkaTdnnProjector,
        "xvector": XvectorProjector,
        "identity": IdentityProjector,
    },
    "loss": {
        "aamsoftmax_sc_topk": aamsoftmax_sc_topk,
        "aamsoftmax": aamsoftmax,
        "softmax": softmax,
        "dnn_softmax": DnnSoftmax,
        "linear_softmax": LinearSoftmax,
    },
}
# Arguments of ESPnet's that have one possible value here: accepted with it, refused with any other.
FIXED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("frontend", "default"): {"onesided": True, "apply_stft": True, "frontend_conf": None},
    ("frontend", "sliding_window"): {"channels": 1, "padding": None},
    ("frontend", "fused"): {"align_method": "linear_projection"},
    ("encoder", "ecapa_tdnn"): {"block": "EcapaBlock"},
    ("encoder", "rawnet3"): {"block": "Bottle2neck"},
    ("encoder", "ska_tdnn"): {"block": "Bottle2neck", "skablock": "ResBlock"},
    ("encoder", "mfaconformer"): {
        "pos_enc_layer_type": "rel_pos",
        "selfattention_layer_type": "rel_selfattn",
    },
    ("loss", "aamsoftmax_sc_topk"): {"do_lm": False},
}
OPTIONAL = ("specaug", "normalize")
FROM_NEIGHBOURS = ("input_size", "embedding_size", "classes")


def build_model(description: Mapping[str, Any], classes: int) -> LidModel:
    """Build a model with random weights.

    Args:
        description: for each component C of ``COMPONENTS`` the keys ``C`` (a name; None leaves an
            optional one out) and ``C_conf`` (its arguments), and ``input_size`` where ``frontend`` is
            None; other keys are not read.
        classes: number of languages, at least 2.

    Raises:
        LidError: an unknown component or argument, naming the nearest known one, or a wrong value.
    """
    if classes < 2:
        raise LidError(f"{classes} language in training data", mend="identification needs at least two")

    def build(component: str, **sizes: int) -> Any:
        name, conf = description.get(component), description.get(f"{component}_conf") or {}
        return (
            None if name is None and component in OPTIONAL else build_component(component, name, conf, sizes)
        )

    frontend = build_frontend(description)
    encoder = build("encoder", input_size=frontend.output_size)
    pooling = build("pooling", input_size=encoder.output_size)
    projector = build("projector", input_size=pooling.output_size)
    loss = build("loss", embedding_size=projector.output_size, classes=classes)
    normalize = build("normalize", input_size=frontend.output_size)
    return LidModel(frontend, build("specaug"), normalize, encoder, pooling, projector, loss)


def build_frontend(description: Mapping[str, Any]) -> Any:
    """Build the front end of a description: a module with ``output_size``, ``rate`` and ``hop_length``.

    It maps waveforms (B, T) in [-1, 1] and their lengths (B,), which stay on the CPU, to features
    (B, frames, output_size) and their lengths. ``rate`` is that of the waveforms in Hz, None if it
    does not matter; frames are ``hop_length`` samples apart. Without a front end (``frontend: null``)
    the model takes features of ``input_size`` dimensions.
    """
    conf = description.get("frontend_conf") or {}
    if description.get("frontend") is not None:
        return build_component("frontend", description["frontend"], conf, {})
    if conf or not description.get("input_size"):
        what = "frontend_conf without a frontend" if conf else "features of no known dimension"
        raise LidError(what, where="frontend", mend="name a frontend, or set input_size for features")
    return PrecomputedFeatures(description["input_size"])


def makes_one_vector(frontend: str | None, conf: Mapping[str, Any]) -> bool:
    """Say whether such a front end gives one frame for an utterance, which cannot be cropped."""
    return frontend == "whisper_language" or bool(conf.get("language_token"))


def build_component(
    component: str, name: str | None, conf: Mapping[str, Any], sizes: Mapping[str, int]
) -> nn.Module:
    """Build one component from its name, its configured arguments and the sizes its neighbours set.

    Raises:
        LidError: an unknown name or argument, naming the nearest known one, or a wrong value.
    """
    known = COMPONENTS[component]
    if not isinstance(name, str) or name not in known:
        raise LidError(f"unknown {component} '{name}'", where=component, mend=nearest(str(name), known))
    make = known[name]
    fixed = FIXED.get((component, name), {})
    for argument in conf.keys() & fixed.keys():
        if conf[argument] != fixed[argument]:
            what = f"{argument}: {conf[argument]} is not there"
            raise LidError(what, where=f"{component}_conf", mend=f"only {fixed[argument]} is")
    free = {key: value for key, value in conf.items() if key not in fixed}
    arguments = _check(component, name, arguments_model(make), free)
    wanted = inspect.signature(make).parameters
    try:
        return make(**{key: size for key, size in sizes.items() if key in wanted}, **arguments)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, AttributeError) as error:
        what = f"{error} is not known" if isinstance(error, KeyError) else str(error)
        raise LidError(what, where=f"{component}_conf", mend="correct the value") from error


@functools.cache
def arguments_model(make: Callable[..., nn.Module]) -> type[BaseModel]:
    """Return the configurable parameters of a component as a pydantic model that forbids all others."""
    function = make.__init__ if inspect.isclass(make) else make
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in FROM_NEIGHBOURS
    }
    return create_model(make.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def _check(component: str, name: str, model: type[BaseModel], conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configured arguments with their types made right."""
    where = f"{component}_conf"
    for argument in conf:
        if argument not in model.model_fields:
            what = f"unknown argument '{argument}' of {component} '{name}'"
            raise LidError(what, where=where, mend=nearest(str(argument), model.model_fields))
    try:
        checked = model.model_validate(conf)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{first['loc'][0]}: {first['msg']}"
        raise LidError(what, where=where, mend="correct the value") from error
    return {key: getattr(checked, key) for key in checked.model_fields_set}
