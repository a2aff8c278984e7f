"""x-vector encoder (Snyder et al., ICASSP 2018), exact under padding.

Shapes: b batch, t time, d features, c channels.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from lid_toolkit.models.arguments import NotNegative, PositiveInt, component
from lid_toolkit.models.masking import MaskedBatchNorm1d, continue_by_zeros, padding_mask, zero_padding

Sizes = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt]
Paddings = tuple[NotNegative, NotNegative, NotNegative, NotNegative, NotNegative]


@component(small={"ndim": 8, "output_size": 6})
class XvectorEncoder(nn.Module):
    """Five time-delay layers x -> norm(relu(W * x)), the frame-level part of table 1 of the paper.

    (B, T, D) to (B, output_size, T'). With the default paddings, T' = T - 6. Parameter names are those of
    ESPnet's ``xvector``.

    Args:
        input_size: feature dimension D.
        ndim: number of channels of the first four layers.
        output_size: number of channels of the fifth layer.
        kernel_sizes: kernel size of each layer in frames.
        paddings: number of zero frames at both ends of each layer's input.
        dilations: dilation of each layer in frames.
    """

    def __init__(
        self,
        input_size: int,
        ndim: PositiveInt = 512,
        output_size: PositiveInt = 1500,
        kernel_sizes: Sizes = (5, 3, 3, 1, 1),
        paddings: Paddings = (2, 1, 1, 0, 0),
        dilations: Sizes = (1, 2, 3, 1, 1),
    ) -> None:
        super().__init__()
        self.output_size = output_size
        widths = [input_size, *[ndim] * 4, output_size]
        self.layers = nn.ModuleList()
        self.lost = []
        for index, (kernel, padding, dilation) in enumerate(
            zip(kernel_sizes, paddings, dilations, strict=True)
        ):
            conv = nn.Conv1d(widths[index], widths[index + 1], kernel, padding=padding, dilation=dilation)
            self.layers += [conv, nn.ReLU(), MaskedBatchNorm1d(widths[index + 1])]
            self.lost.append(dilation * (kernel - 1) - 2 * padding)

    def forward(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return frame-level outputs (B, output_size, T') and their lengths (B,).

        Args:
            feats_btd: features (B, T, D); padded frames may have any value.
            lengths_b: number of valid frames of each, on the CPU. Utterances too short for one frame of
                output are padded with zeros.
        """
        shortest = 1 + max(itertools.accumulate(self.lost))
        feats_btd, lengths_b = continue_by_zeros(feats_btd, lengths_b, shortest)
        x_bct = feats_btd.transpose(1, 2)
        mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
        for index, lost in enumerate(self.lost):
            conv, relu, norm = self.layers[3 * index : 3 * index + 3]
            x_bct = relu(conv(zero_padding(x_bct, mask_b1t)))
            lengths_b = lengths_b - lost
            mask_b1t = padding_mask(lengths_b, x_bct.shape[2], x_bct.device)
            x_bct = norm(x_bct, mask_b1t)
        return x_bct, lengths_b
