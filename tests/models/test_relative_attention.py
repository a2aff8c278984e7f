"""Attention of long utterances, a block of queries at a time."""

from __future__ import annotations

import pytest
import torch

from lid_toolkit.models.encoders import relative_attention
from lid_toolkit.models.encoders.relative_attention import RelativeSelfAttention, relative_positions
from lid_toolkit.models.masking import padding_mask

FRAMES, SIZE = 23, 8
LENGTHS = torch.tensor([FRAMES, 14, 1])


@pytest.mark.parametrize(("layout", "zero_triu"), [("legacy", False), ("latest", False), ("latest", True)])
@pytest.mark.parametrize("queries", [1, 7, 22])
def test_blocks_of_queries_change_no_answer(layout, zero_triu, queries, monkeypatch):
    torch.manual_seed(0)
    attention = RelativeSelfAttention(SIZE, 2, 0.0, layout, zero_triu).double()
    x_btd = torch.randn(3, FRAMES, SIZE, dtype=torch.float64)
    positions_pd = relative_positions(FRAMES, SIZE, layout, 100, x_btd.device).double()
    mask_b1t = padding_mask(LENGTHS, FRAMES, x_btd.device)
    answers = []
    for block in (queries, FRAMES):
        monkeypatch.setattr(relative_attention, "BLOCK_QUERIES", block)
        out_btd = attention(x_btd, positions_pd, LENGTHS, mask_b1t)
        answers.append(torch.cat([out_btd[row, :length] for row, length in enumerate(LENGTHS)]))
    assert torch.allclose(*answers, atol=1e-12)


def test_scores_of_a_block_alone_are_in_memory(monkeypatch):
    monkeypatch.setattr(relative_attention, "BLOCK_QUERIES", 4)
    sizes = []
    place = RelativeSelfAttention._place
    monkeypatch.setattr(
        RelativeSelfAttention, "_place", lambda *args: sizes.append(place(*args).shape[2]) or place(*args)
    )
    attention = RelativeSelfAttention(SIZE, 2, 0.0, "latest", False)
    positions_pd = relative_positions(FRAMES, SIZE, "latest", 100, torch.device("cpu"))
    attention(torch.randn(1, FRAMES, SIZE), positions_pd, torch.tensor([FRAMES]), None)
    assert sizes == [4, 4, 4, 4, 4, 3]
