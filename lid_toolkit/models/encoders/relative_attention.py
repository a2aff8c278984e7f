"""Self-attention with relative positions (Dai et al., ACL 2019), exact under padding.

The position scores are computed once for each query and each column of the table of positions. Then each
pair of query and key takes the score of one column. For 3 frames, these are the columns for each query (row)
and key (column)::

    latest                  legacy (0' is column 0 of the next query's scores)
    2  1  0                 2   -   0'
    3  2  1                 1   2   -
    4  3  2                 0   1   2

In ``latest``, column c means that the key is c - 2 frames before the query. ``legacy`` is the result of a
shift by padding and reshaping that has no columns for keys after the query: it is correct on and below the
diagonal, zero (-) just above it, and takes the next query's scores beyond that.

Shapes: b batch, h heads, t time (of the keys), q queries of a block, d features, p columns of the table of
positions, k sinusoids, n scores of one head (q * t).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.exporting import is_exporting
from lid_toolkit.models.masking import on_device

RelPosType = Literal["legacy", "latest"]

BLOCK_QUERIES = 512
"""Queries whose scores are in memory at a time; the scores of all, of 10 minutes, would take 20 GB."""


class RelativeSelfAttention(nn.Module):
    """Attention with scores ((q_i + u) k_j + (q_i + v) W r_{i-j}) / sqrt(d); r are sinusoids of the distance.

    "Transformer-XL", section 3.3, in ESPnet's two layouts. ``latest`` computes this equation. ``legacy`` is
    ESPnet's default, and is needed for checkpoints trained with it. Its row shift computes something else:
    for an utterance of n frames and a table of L positions, it uses r_{L-n+i-j} if the key is not after
    the query, 0 for the next key, and (q_{i+1} + v) W r_{L+1-d} for a key d >= 2 frames ahead. Here n is
    the utterance's own length, not the batch's.

    Args:
        size: dimension of the frames.
        heads: number of heads.
        dropout: dropout probability of the attention weights.
        rel_pos_type: the layout.
        zero_triu: no position score for keys after the query; ignored by ``legacy``, as in ESPnet.
    """

    def __init__(
        self, size: int, heads: int, dropout: float, rel_pos_type: RelPosType, zero_triu: bool
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.legacy = rel_pos_type == "legacy"
        self.zero_triu = zero_triu and not self.legacy
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, size // heads))
        self.pos_bias_v = nn.Parameter(torch.empty(heads, size // heads))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(
        self, x_btd: Tensor, positions_pd: Tensor, lengths_b: Tensor, mask_b1t: Tensor | None
    ) -> Tensor:
        """Return (B, T, D) from frames (B, T, D).

        Args:
            x_btd: frames; padded ones may have any finite value.
            positions_pd: the result of :func:`relative_positions` for T frames.
            lengths_b: number of valid frames of each.
            mask_b1t: true at valid frames, or None if all are.
        """
        q_bhtd, k_bhtd, v_bhtd = (
            self._split(linear(x_btd)) for linear in (self.linear_q, self.linear_k, self.linear_v)
        )
        r_1hpd = self._split(self.linear_pos(positions_pd)[None])
        blocks = []
        exporting = is_exporting()  # a graph has no loop over blocks
        for first in (0,) if exporting else range(0, q_bhtd.shape[2], BLOCK_QUERIES):
            # One query more, because ``legacy`` takes scores of the next query.
            q_bhqd = q_bhtd if exporting else q_bhtd[:, :, first : first + BLOCK_QUERIES + 1]
            distance_bhqp = (q_bhqd + self.pos_bias_v[:, None]) @ r_1hpd.transpose(2, 3)
            q_bhqd = q_bhqd if exporting else q_bhqd[:, :, :BLOCK_QUERIES]
            scores_bhqt = self._place(distance_bhqp, first, q_bhqd.shape[2], k_bhtd.shape[2], lengths_b)
            scores_bhqt = scores_bhqt / math.sqrt(q_bhqd.shape[3])
            if mask_b1t is not None:
                scores_bhqt = scores_bhqt.masked_fill(~mask_b1t[:, None], -torch.inf)
            block_bhqd = F.scaled_dot_product_attention(
                q_bhqd + self.pos_bias_u[:, None].to(q_bhqd.dtype),
                k_bhtd,
                v_bhtd,
                attn_mask=scores_bhqt.to(q_bhqd.dtype),
                dropout_p=self.dropout if self.training else 0.0,
            )
            blocks.append(block_bhqd)
        out_bhtd = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)
        out_btd: Tensor = self.linear_out(out_bhtd.transpose(1, 2).flatten(2))
        return out_btd

    def _split(self, x_btd: Tensor) -> Tensor:
        return x_btd.view(*x_btd.shape[:2], self.heads, -1).transpose(1, 2)

    def _place(
        self, distance_bhqp: Tensor, first: int, queries: int, frames: int, lengths_b: Tensor
    ) -> Tensor:
        """Return the position score of each query and key (B, H, Q, T) from the scores of the columns.

        This is one gather over the flattened (Q, P), in which query q and column p have index q * P + p.

        Args:
            distance_bhqp: scores of the columns, for the queries and the one after them, if there is one.
            first: place of the first query among the T frames.
            queries: number Q of queries.
            frames: number T of keys.
            lengths_b: number of valid frames of each utterance.
        """
        distances, device = distance_bhqp.shape[3], distance_bhqp.device
        query_q1 = torch.arange(queries, device=device)[:, None]
        ahead_qt = torch.arange(frames, device=device) - first - query_q1
        if self.legacy:
            # The last column used is n - 1, of the utterance's own length and not of the batch's: its scores
            # must be the same as without a batch.
            last_b11 = (on_device(lengths_b, device) - 1)[:, None, None]
            behind_bqt = query_q1 * distances + (last_b11 + ahead_qt).clamp(min=0)
            next_query_qt = (query_q1 + 1) * distances + ahead_qt - 2
            index_bqt = torch.where(ahead_qt >= 2, next_query_qt, behind_bqt)
        else:
            index_bqt = (query_q1 * distances + frames - 1 - ahead_qt).expand(distance_bhqp.shape[0], -1, -1)
        scores_bhn = distance_bhqp.flatten(2)
        index_b1n = index_bqt.clamp(max=scores_bhn.shape[2] - 1).flatten(1)[:, None]
        placed_bhn = scores_bhn.gather(2, index_b1n.expand(-1, self.heads, -1))
        placed_bhqt = placed_bhn.view(*distance_bhqp.shape[:2], queries, frames)
        if self.zero_triu:
            return placed_bhqt.masked_fill(ahead_qt > 0, 0.0)
        return placed_bhqt.masked_fill(ahead_qt == 1, 0.0) if self.legacy else placed_bhqt


def relative_positions(
    frames: int, size: int, rel_pos_type: RelPosType, longest: int, device: torch.device
) -> Tensor:
    """Return sinusoids of the distances in a layout (Vaswani et al., 2017, section 3.5).

    Args:
        frames: number of frames T.
        size: dimension of the sinusoids.
        rel_pos_type: ``latest``: distances 1 - T ... T - 1; ``legacy``: L - 1, L - 2, ... L - T.
        longest: number L of positions in ESPnet's table.
        device: device of the result.
    """
    if rel_pos_type == "legacy":
        distance_p = longest - 1 - torch.arange(frames, device=device)
    else:
        distance_p = torch.arange(1 - frames, frames, device=device)
    rate_k = torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(10000.0) / size))
    angle_pk = distance_p[:, None] * rate_k
    return torch.stack((angle_pk.sin(), angle_pk.cos()), dim=2).flatten(1)[:, :size]
