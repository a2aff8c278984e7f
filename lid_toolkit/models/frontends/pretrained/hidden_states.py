"""Hidden states of pretrained encoders, the same for an utterance in every padded batch.

``wave_states``, ``bert_states`` and two functions of ``whisper_states`` have the type :data:`RunEncoder`:
their arguments are an encoder of ``transformers``, its inputs (see ``inputs``) and the lengths of these; they
return a list of states, each (B, T, D), and each utterance's frame count (B,). The first state is the input
of the first transformer layer. The others are the outputs of the layers; the last one is the encoder's output
(after its final normalisation, if it has one). Padded frames have arbitrary values. ``frontend`` computes the
weighted sum of the states.

Shapes: b batch, t time, d or c channels, m spans.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from lid_toolkit.models.exporting import is_exporting
from lid_toolkit.models.frontends.pretrained.upstream_types import (
    BertEncoder,
    HasModules,
    Upstream,
    WaveEncoder,
)
from lid_toolkit.models.masking import MaskedBatchNorm1d, masked_mean, padding_mask, zero_padding
from lid_toolkit.models.specaug import random_spans

States = tuple[list[Tensor], Tensor]
"""The states, and each utterance's frame count."""
DrawSpans = Callable[[Tensor, int], "Tensor | None"]
"""Maps lengths (B,) and a number of frames T to the frames to mask, bool (B, T); None if there are none."""
RunEncoder = Callable[[Upstream, Tensor, Tensor, DrawSpans], States]
"""Maps an encoder, its inputs, their lengths and a function that draws masks to the states."""
LayerOutput = Tensor | tuple[Tensor, ...]
"""Output of a layer: its hidden states, or a tuple that begins with them."""


class MaskedGroupNorm(nn.GroupNorm):
    """Normalisation of each channel over the valid frames (wav2vec 2.0 base, HuBERT base).

    Attributes:
        lengths_b: valid frames of the next input, on the CPU; set before the call.
    """

    lengths_b: Tensor

    def forward(self, x_bct: Tensor) -> Tensor:
        """Normalise (B, C, T)."""
        mask_b1t = padding_mask(self.lengths_b, x_bct.shape[2], x_bct.device)
        if mask_b1t is None:
            return super().forward(x_bct)
        centred_bct = x_bct.float() - masked_mean(x_bct, mask_b1t)
        scale_bc1 = torch.rsqrt(masked_mean(centred_bct.square(), mask_b1t) + self.eps)
        return torch.addcmul(self.bias[:, None], centred_bct * scale_bc1, self.weight[:, None]).to(
            x_bct.dtype
        )


class PaddedBatchNorm(MaskedBatchNorm1d):
    """Batch normalisation before a convolution over time (mHuBERT): padded frames of the output are zero.

    Attributes:
        lengths_b: valid frames of the next input, on the CPU; set before the call.
    """

    lengths_b: Tensor

    def forward(self, x_bct: Tensor, mask_b1t: Tensor | None = None) -> Tensor:
        """Normalise (B, C, T)."""
        mask_b1t = padding_mask(self.lengths_b, x_bct.shape[2], x_bct.device)
        return zero_padding(super().forward(x_bct, mask_b1t), mask_b1t)


def make_exact(encoder: WaveEncoder) -> None:
    """Replace the parts of a wav2vec 2.0-like encoder that read padding; parameter names do not change."""
    first = encoder.feature_extractor.conv_layers[0]
    norm = getattr(first, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        masked = MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps, norm.affine)
        masked.load_state_dict(norm.state_dict())
        first.layer_norm = masked
    position = encoder.encoder.pos_conv_embed
    norm = getattr(position, "batch_norm", None)
    if isinstance(norm, nn.BatchNorm1d):
        padded = PaddedBatchNorm(norm.num_features, norm.eps, norm.momentum)
        padded.load_state_dict(norm.state_dict())
        position.batch_norm = padded


def wave_states(model: WaveEncoder, wave_bt: Tensor, lengths_b: Tensor, draw_spans: DrawSpans) -> States:
    """Run wav2vec 2.0, XLS-R, MMS, HuBERT or WavLM on waveforms, after :func:`make_exact`."""
    frames, frames_b = wave_bt.shape[1], lengths_b
    for place, (kernel, stride) in enumerate(
        zip(model.config.conv_kernel, model.config.conv_stride, strict=True)
    ):
        frames, frames_b = (frames - kernel) // stride + 1, (frames_b - kernel) // stride + 1
        if place == 0:
            _tell(model.feature_extractor, MaskedGroupNorm, frames_b)
    _tell(model.encoder, PaddedBatchNorm, frames_b)
    if is_exporting():
        return _exported_states(model, wave_bt, frames_b, frames)
    samples_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
    with recorded(model.encoder.layers) as states:
        output = model(
            wave_bt,
            attention_mask=None if samples_b1t is None else samples_b1t[:, 0].long(),
            mask_time_indices=draw_spans(frames_b, frames),
        )
    return _all(states, model, output.last_hidden_state), frames_b


def _exported_states(model: WaveEncoder, wave_bt: Tensor, frames_b: Tensor, frames: int) -> States:
    """Run the parts of an encoder with a mask of frames.

    The encoder itself makes this mask from one of samples, in a way that fixes the size of the batch.
    """
    mask_b1t = padding_mask(frames_b, frames, wave_bt.device)
    assert mask_b1t is not None
    names = ("feature_extractor", "feature_projection", "encoder")
    extract, project, encode = map(cast(nn.Module, model).get_submodule, names)
    with recorded(model.encoder.layers) as states:
        feats_btd = first_of(project(extract(wave_bt).transpose(1, 2)))
        output = encode(feats_btd, attention_mask=mask_b1t[:, 0])
    return _all(states, model, output.last_hidden_state), frames_b


def bert_states(model: BertEncoder, feats_btd: Tensor, lengths_b: Tensor, draw_spans: DrawSpans) -> States:
    """Run w2v-BERT 2.0 on stacked filter banks."""
    mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
    with recorded(model.encoder.layers) as states:
        output = model(
            feats_btd,
            attention_mask=None if mask_b1t is None else mask_b1t[:, 0].long(),
            mask_time_indices=draw_spans(lengths_b, feats_btd.shape[1]),
        )
    return _all(states, model, output.last_hidden_state), lengths_b


@contextlib.contextmanager
def recorded(layers: nn.ModuleList) -> Iterator[dict[int, Tensor]]:
    """Collect, within the context, the input of the first layer (key 0) and the output of each layer.

    Layers that are skipped by layer drop have no key.
    """
    states: dict[int, Tensor] = {}

    def record_input(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        states.setdefault(0, given[0])

    def record_output(place: int, _layer: nn.Module, _given: object, made: LayerOutput) -> None:
        states[place] = first_of(made)

    hooks = [layer.register_forward_pre_hook(record_input) for layer in layers]
    hooks += [
        layer.register_forward_hook(functools.partial(record_output, place))
        for place, layer in enumerate(layers, 1)
    ]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def span_mask(lengths_b: Tensor, size: int, probability: float, width: int) -> Tensor:
    """Draw spans of ``width`` over about ``probability`` of each length: a bool mask (B, size).

    The number of spans is ``probability * length / width``, rounded up or down by chance (wav2vec 2.0,
    section 4.2); spans may overlap.
    """
    count_b = (probability * lengths_b / width + torch.rand(len(lengths_b))).long()
    widths_bm = torch.where(torch.arange(int(count_b.max())) < count_b[:, None], width, 0)
    return random_spans(lengths_b, widths_bm, size)


def _all(states: dict[int, Tensor], model: BertEncoder, last_btd: Tensor) -> list[Tensor]:
    """Return all states in order; the output of a skipped layer is its input."""
    count = len(model.encoder.layers)
    listed = [states[0] if states else last_btd]
    for place in range(1, count + 1):
        listed.append(states.get(place, listed[-1]))
    if count == model.config.num_hidden_layers:
        listed[-1] = last_btd
    return listed


def first_of(made: LayerOutput) -> Tensor:
    """Return a layer's hidden states."""
    return made[0] if isinstance(made, tuple) else made


def _tell(model: HasModules, kind: type[MaskedGroupNorm] | type[PaddedBatchNorm], lengths_b: Tensor) -> None:
    for part in model.modules():
        if isinstance(part, kind):
            part.lengths_b = lengths_b
