"""The Conformer block (Gulati et al., Interspeech 2020), exact under padding.

Shapes: b batch, t time, d features, p positions, u hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.encoders.relative_attention import RelativeSelfAttention, RelPosType
from lid_toolkit.models.masking import MaskedBatchNorm1d, zero_padding

Activation = Literal["swish", "relu", "tanh", "hardtanh", "selu"]
FeedForwardKind = Literal["linear", "conv1d", "conv1d-linear"]
ACTIVATIONS = {
    "swish": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh,
    "selu": nn.SELU,
}


def layer_norm(size: int) -> nn.LayerNorm:
    """Return a layer normalisation with ESPnet's epsilon."""
    return nn.LayerNorm(size, eps=1e-12)


@dataclass(frozen=True)
class ConformerLayout:
    """The settings that are the same for all blocks of an encoder.

    Attributes:
        size: dimension D of the frames.
        heads: number of attention heads.
        units: number of hidden units of the feed-forward layers.
        dropout: dropout probability after each part.
        attention_dropout: dropout probability of the attention weights.
        normalize_before: normalise each part's input; else its output.
        feed_forward: kind of the feed-forward layers.
        feed_forward_kernel: kernel of their convolutions.
        macaron: a second feed-forward layer before the attention, both with half weight.
        rel_pos_type: layout of the relative positions.
        zero_triu: no position score for frames after the query; has no effect with ``legacy``.
        activation: activation function.
        kernel: kernel size of the convolution module; None leaves the module out.
    """

    size: int
    heads: int
    units: int
    dropout: float
    attention_dropout: float
    normalize_before: bool
    feed_forward: FeedForwardKind
    feed_forward_kernel: int
    macaron: bool
    rel_pos_type: RelPosType
    zero_triu: bool
    activation: Activation
    kernel: int | None


class ConformerBlock(nn.Module):
    """Feed-forward (macaron), self-attention, convolution, feed-forward; x + part(norm(x)) each.

    Args:
        layout: settings of all blocks.
        skip_rate: probability of skipping the block in training (stochastic depth; Huang et al., 2016).
    """

    def __init__(self, layout: ConformerLayout, skip_rate: float) -> None:
        super().__init__()
        size = layout.size
        if size % layout.heads:
            raise ValueError(f"output_size {size} is not a multiple of attention_heads {layout.heads}")
        self.before, self.skip_rate = layout.normalize_before, skip_rate
        self.self_attn = RelativeSelfAttention(
            size, layout.heads, layout.attention_dropout, layout.rel_pos_type, layout.zero_triu
        )
        self.norm_mha = layer_norm(size)
        self.feed_forward = FeedForward(layout)
        self.norm_ff = layer_norm(size)
        self.feed_forward_macaron = FeedForward(layout) if layout.macaron else None
        self.norm_ff_macaron = layer_norm(size) if layout.macaron else None
        self.conv_module = None
        if layout.kernel is not None:
            self.conv_module = ConvolutionModule(size, layout.kernel, layout.activation)
            self.norm_conv = layer_norm(size)
            self.norm_final = layer_norm(size)
        self.dropout = nn.Dropout(layout.dropout)

    def forward(
        self, x_btd: Tensor, positions_pd: Tensor, lengths_b: Tensor, mask_b1t: Tensor | None
    ) -> Tensor:
        """Map (B, T, D) to (B, T, D); valid frames depend only on valid frames."""
        scale = 1.0
        if self.training and self.skip_rate > 0:
            if torch.rand(()) < self.skip_rate:
                return x_btd
            scale = 1.0 / (1.0 - self.skip_rate)
        half = scale if self.feed_forward_macaron is None else 0.5 * scale
        if self.feed_forward_macaron is not None and self.norm_ff_macaron is not None:
            y_btd = self.feed_forward_macaron(self._before(self.norm_ff_macaron, x_btd), mask_b1t)
            x_btd = self._add(self.norm_ff_macaron, x_btd, y_btd, half)
        y_btd = self.self_attn(self._before(self.norm_mha, x_btd), positions_pd, lengths_b, mask_b1t)
        x_btd = self._add(self.norm_mha, x_btd, y_btd, scale)
        if self.conv_module is not None:
            y_btd = self.conv_module(self._before(self.norm_conv, x_btd), mask_b1t)
            x_btd = self._add(self.norm_conv, x_btd, y_btd, scale)
        y_btd = self.feed_forward(self._before(self.norm_ff, x_btd), mask_b1t)
        x_btd = self._add(self.norm_ff, x_btd, y_btd, half)
        return x_btd if self.conv_module is None else self.norm_final(x_btd)

    def _before(self, norm: nn.Module, x_btd: Tensor) -> Tensor:
        normalised_btd: Tensor = norm(x_btd) if self.before else x_btd
        return normalised_btd

    def _add(self, norm: nn.Module, x_btd: Tensor, y_btd: Tensor, scale: float) -> Tensor:
        sum_btd: Tensor = x_btd + scale * self.dropout(y_btd)
        return sum_btd if self.before else norm(sum_btd)


class FeedForward(nn.Module):
    """W_2 dropout(act(W_1 x + b_1)) + b_2; one or both maps may be convolutions over time."""

    def __init__(self, layout: ConformerLayout) -> None:
        super().__init__()
        size, units, kernel = layout.size, layout.units, layout.feed_forward_kernel
        if layout.feed_forward != "linear" and kernel % 2 == 0:
            raise ValueError(f"positionwise_conv_kernel_size {kernel} is not odd")

        def convolution(inputs: int, outputs: int) -> nn.Module:
            return nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)

        first = nn.Linear if layout.feed_forward == "linear" else convolution
        second = convolution if layout.feed_forward == "conv1d" else nn.Linear
        self.w_1, self.w_2 = first(size, units), second(units, size)
        # as in ESPnet, whose convolutional layers support no other activation
        self.activation = ACTIVATIONS[layout.activation if layout.feed_forward == "linear" else "relu"]()
        self.dropout = nn.Dropout(layout.dropout)

    def forward(self, x_btd: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        hidden_btu = self.dropout(self.activation(self._map(self.w_1, x_btd, mask_b1t)))
        return self._map(self.w_2, hidden_btu, mask_b1t)

    @staticmethod
    def _map(layer: nn.Module, x_btd: Tensor, mask_b1t: Tensor | None) -> Tensor:
        out: Tensor
        if isinstance(layer, nn.Conv1d):
            out = layer(zero_padding(x_btd.transpose(1, 2), mask_b1t)).transpose(1, 2)
        else:
            out = layer(x_btd)
        return out


class ConvolutionModule(nn.Module):
    """W_2 act(norm(depthwise * glu(W_1 x))) (figure 2 of the Conformer paper)."""

    def __init__(self, size: int, kernel: int, activation: Activation) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"cnn_module_kernel {kernel} is not odd")
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, kernel_size=1)
        self.depthwise_conv = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=size)
        self.norm = MaskedBatchNorm1d(size)
        self.pointwise_conv2 = nn.Conv1d(size, size, kernel_size=1)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x_btd: Tensor, mask_b1t: Tensor | None) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        y_bdt = F.glu(self.pointwise_conv1(x_btd.transpose(1, 2)), dim=1)
        y_bdt = self.norm(self.depthwise_conv(zero_padding(y_bdt, mask_b1t)), mask_b1t)
        out_bdt: Tensor = self.pointwise_conv2(self.activation(y_bdt))
        return out_bdt.transpose(1, 2)
