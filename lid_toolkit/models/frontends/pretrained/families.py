"""The families of pretrained encoders and their differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import NotNegative
from lid_toolkit.models.frontends.pretrained import hidden_states, whisper_states
from lid_toolkit.models.frontends.pretrained.hidden_states import RunEncoder
from lid_toolkit.models.frontends.pretrained.inputs import (
    KaldiFilterbank,
    NormalizedWave,
    WaveNorm,
    WhisperLogMel,
    WhisperWindows,
)
from lid_toolkit.models.frontends.pretrained.upstream_types import Config

Layers = Literal["all", "last"] | list[NotNegative]


@dataclass(frozen=True)
class Family:
    """The properties of a family of encoders.

    Attributes:
        states: function that runs the encoder.
        lora_targets: linear maps that LoRA adapts by default.
        extractor: names of the encoder's convolutional parts.
        stack: name of the part that contains the layers; "" for the encoder itself.
        count: key of the number of layers in the checkpoint's configuration.
        layer_drop: keys of the probabilities of leaving out a layer.
    """

    states: RunEncoder
    lora_targets: tuple[str, ...]
    extractor: tuple[str, ...]
    stack: str = "encoder"
    count: str = "num_hidden_layers"
    layer_drop: tuple[str, ...] = ("layerdrop",)


WAVE = Family(hidden_states.wave_states, ("q_proj", "v_proj"), ("feature_extractor",))
FAMILIES: Mapping[str, Family] = {
    "wav2vec2": WAVE,
    "hubert": WAVE,
    # Its attention reads the weights without calling the modules, so adapters there would have no effect.
    "wavlm": Family(
        hidden_states.wave_states, ("intermediate_dense", "output_dense"), ("feature_extractor",)
    ),
    "wav2vec2-bert": Family(hidden_states.bert_states, ("linear_q", "linear_v"), ()),
    "whisper": Family(
        whisper_states.whisper_states,
        ("q_proj", "v_proj"),
        ("conv1", "conv2"),
        stack="",
        layer_drop=("encoder_layerdrop",),
    ),
}
LANGUAGE_TOKEN = Family(
    whisper_states.language_states,
    ("q_proj", "v_proj"),
    ("encoder.conv1", "encoder.conv2"),
    stack="decoder",
    count="decoder_layers",
    layer_drop=("encoder_layerdrop", "decoder_layerdrop"),
)


def choose_family(kind: str, language_token: bool) -> Family:
    """Return the family of an encoder by its ``model_type``."""
    if not language_token:
        return FAMILIES[kind]
    if kind != "whisper":
        raise LidError(
            f"an encoder of type '{kind}' is not Whisper",
            where="frontend_conf.language_token",
            mend="leave it out, or name a Whisper model",
        )
    return LANGUAGE_TOKEN


def chosen_layers(layers: Layers, count: int) -> list[int]:
    """Return the chosen layer numbers, ascending, of an encoder with ``count`` layers."""
    if layers == "all":
        return list(range(count + 1))
    if layers == "last":
        return [count]
    if not layers or max(layers) > count or len(set(layers)) < len(layers):
        raise LidError(
            f"layers {layers} are not valid for an encoder with {count} layers",
            where="frontend_conf.layers",
            mend=f"list layers from 0 to {count}, each once",
        )
    return sorted(int(layer) for layer in layers)


def make_inputs(config: Config, wave_norm: WaveNorm, whole_windows: bool = False) -> tuple[nn.Module, int]:
    """Return a module that maps waveforms to an encoder's inputs, and the number of samples per frame.

    Raises:
        LidError: ``whole_windows`` for an encoder that is not Whisper's.
    """
    if config.model_type == "whisper":
        if whole_windows:
            return WhisperWindows(config.num_mel_bins, 320 * config.max_source_positions), 320
        return WhisperLogMel(config.num_mel_bins), 320
    if whole_windows:
        what = f"an encoder of type '{config.model_type}' has no windows"
        raise LidError(what, where="frontend_conf.whole_windows", mend="leave it out")
    if config.model_type == "wav2vec2-bert":
        return KaldiFilterbank(), 320
    shortest, hop = 1, 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        shortest, hop = (shortest - 1) * stride + kernel, hop * stride
    return NormalizedWave(wave_norm, shortest), hop
