"""MFA-Conformer encoder (Zhang et al., Interspeech 2022), exact under padding.

Shapes: b batch, t time, d features, c channels, f frequency, p positions.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Fraction, PositiveInt, component
from lid_toolkit.models.encoders.conformer_block import (
    Activation,
    ConformerBlock,
    ConformerLayout,
    FeedForwardKind,
    layer_norm,
)
from lid_toolkit.models.encoders.relative_attention import RelPosType, relative_positions
from lid_toolkit.models.masking import continue_by_zeros, padding_mask

# kernel size and stride of each layer, the same in time and in frequency
SUBSAMPLINGS = {
    "conv2d": ((3, 2), (3, 2)),
    "conv2d1": ((3, 1), (3, 1)),
    "conv2d2": ((3, 2), (3, 1)),
    "conv2d6": ((3, 2), (5, 3)),
    "conv2d8": ((3, 2), (3, 2), (3, 2)),
}


@component(
    fixed={"pos_enc_layer_type": "rel_pos", "selfattention_layer_type": "rel_selfattn"},
    small={
        "output_size": 4,
        "attention_heads": 2,
        "linear_units": 4,
        "num_blocks": 2,
        "cnn_module_kernel": 5,
        "dropout_rate": 0.0,
        "positional_dropout_rate": 0.0,
    },
)
class MfaConformerEncoder(nn.Module):
    """Conformer blocks whose outputs are joined: (B, T, D) to (B, output_size * num_blocks, T').

    "MFA-Conformer: Multi-scale Feature Aggregation Conformer for Automatic Speaker Verification",
    section 2.3: h_i = block_i(h_{i-1}), and the output is norm([h_1; ...; h_n]). The block is that of
    Gulati et al., Interspeech 2020 (:class:`.ConformerBlock`). T' is about T, T / 2, T / 4, T / 6 or
    T / 8, depending on ``input_layer``. Parameter names are those of ESPnet's ``mfaconformer``.

    Args:
        input_size: feature dimension D.
        output_size: dimension of a block.
        attention_heads: number of attention heads.
        linear_units: number of hidden units of the feed-forward layers.
        num_blocks: number of blocks.
        dropout_rate: dropout probability after each part of a block.
        positional_dropout_rate: dropout probability of the blocks' input and of the positions.
        attention_dropout_rate: dropout probability of the attention weights.
        input_layer: 2-D convolutions that shorten the input by a factor of 1, 2, 4, 6 or 8 (``conv2d``: 4).
        normalize_before: normalise the input of each part of a block; else its output.
        positionwise_layer_type: kind of the feed-forward layers.
        positionwise_conv_kernel_size: kernel size of their convolutions, odd.
        macaron_style: a second feed-forward layer before the attention, both with half weight.
        rel_pos_type: layout of the relative positions.
        activation_type: activation function.
        use_cnn_module: use a convolution module in each block.
        zero_triu: no position score for frames after the query; has no effect with ``legacy``.
        cnn_module_kernel: kernel size of the convolution module, odd.
        stochastic_depth_rate: probability of skipping each block in training; blocks that are not skipped
            are scaled up.
        layer_drop_rate: probability of skipping each block in training, without scaling.
        max_pos_emb_len: number of positions in the table of the legacy layout, which counts distances from
            the end of the table.
    """

    def __init__(
        self,
        input_size: int,
        output_size: PositiveInt = 256,
        attention_heads: PositiveInt = 4,
        linear_units: PositiveInt = 2048,
        num_blocks: PositiveInt = 6,
        dropout_rate: Fraction = 0.1,
        positional_dropout_rate: Fraction = 0.1,
        attention_dropout_rate: Fraction = 0.0,
        input_layer: Literal["conv2d", "conv2d1", "conv2d2", "conv2d6", "conv2d8"] = "conv2d2",
        normalize_before: bool = True,
        positionwise_layer_type: FeedForwardKind = "linear",
        positionwise_conv_kernel_size: PositiveInt = 3,
        macaron_style: bool = False,
        rel_pos_type: RelPosType = "legacy",
        activation_type: Activation = "swish",
        use_cnn_module: bool = True,
        zero_triu: bool = False,
        cnn_module_kernel: PositiveInt = 31,
        stochastic_depth_rate: Fraction | list[Fraction] = 0.0,
        layer_drop_rate: Fraction = 0.0,
        max_pos_emb_len: PositiveInt = 5000,
    ) -> None:
        super().__init__()
        depth_rates = (
            [stochastic_depth_rate] * num_blocks
            if isinstance(stochastic_depth_rate, float)
            else stochastic_depth_rate
        )
        layout = ConformerLayout(
            size=output_size,
            heads=attention_heads,
            units=linear_units,
            dropout=dropout_rate,
            attention_dropout=attention_dropout_rate,
            normalize_before=normalize_before,
            feed_forward=positionwise_layer_type,
            feed_forward_kernel=positionwise_conv_kernel_size,
            macaron=macaron_style,
            rel_pos_type=rel_pos_type,
            zero_triu=zero_triu,
            activation=activation_type,
            kernel=cnn_module_kernel if use_cnn_module else None,
        )
        if len(depth_rates) != num_blocks:
            raise ValueError(f"{len(depth_rates)} rates of stochastic depth for {num_blocks} blocks")
        self.output_size = output_size * num_blocks
        self.layer_drop_rate = layer_drop_rate
        self.skips_parameters = self.skips_blocks = bool(layer_drop_rate) or any(depth_rates)
        self.rel_pos_type, self.longest = layout.rel_pos_type, max_pos_emb_len
        self.embed = ConvSubsampling(input_size, output_size, input_layer)
        self.positional_dropout = nn.Dropout(positional_dropout_rate)
        self.encoders = nn.ModuleList(ConformerBlock(layout, rate) for rate in depth_rates)
        self.ln = layer_norm(self.output_size)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size * num_blocks, T') and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU. Utterances too short for one frame of
                output are padded with zeros.
        """
        x_btd, lengths_b = self.embed(feats_btd, lengths_b)
        frames, size = x_btd.shape[1:]
        mask_b1t = padding_mask(lengths_b, frames, x_btd.device)
        x_btd = self.positional_dropout(x_btd * math.sqrt(size))
        positions_pd = relative_positions(frames, size, self.rel_pos_type, self.longest, x_btd.device)
        positions_pd = self.positional_dropout(positions_pd)
        outputs = []
        for block in self.encoders:
            if not (self.training and self.layer_drop_rate and torch.rand(()) < self.layer_drop_rate):
                x_btd = block(x_btd, positions_pd, lengths_b, mask_b1t)
            outputs.append(x_btd)
        return self.ln(torch.cat(outputs, dim=2)).transpose(1, 2), lengths_b


class ConvSubsampling(nn.Module):
    """2-D convolutions without padding, ReLU after each, and a linear map of each frame's channels."""

    def __init__(self, bands: int, size: int, layout: str) -> None:
        super().__init__()
        self.layout = SUBSAMPLINGS[layout]
        left = list(accumulate(self.layout, lambda n, layer: (n - layer[0]) // layer[1] + 1, initial=bands))[
            -1
        ]
        if left < 1:
            what = f"{bands} features are too few for {layout}"
            raise LidError(what, where="encoder_conf", mend="choose another input_layer, or more features")
        self.conv = nn.Sequential()
        for index, (kernel, stride) in enumerate(self.layout):
            self.conv.append(nn.Conv2d(size if index else 1, size, kernel, stride))
            self.conv.append(nn.ReLU())
        self.out = nn.Linear(size * left, size)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T', size) and the lengths: an output frame is valid if all frames that it reads are."""
        shortest = 1
        for kernel, stride in reversed(self.layout):
            shortest = (shortest - 1) * stride + kernel
        feats_btd, lengths_b = continue_by_zeros(feats_btd, lengths_b, shortest)
        mask_b1t = padding_mask(lengths_b, feats_btd.shape[1], feats_btd.device)
        if mask_b1t is not None:
            feats_btd = feats_btd.masked_fill(~mask_b1t.transpose(1, 2), 0.0)
        x_bctf = self.conv(feats_btd[:, None])
        for kernel, stride in self.layout:
            lengths_b = (lengths_b - kernel) // stride + 1
        return self.out(x_bctf.transpose(1, 2).flatten(2)), lengths_b
