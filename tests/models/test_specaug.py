"""Masks lie within each utterance and leave some of it; seeds decide; evaluation is left alone."""

from __future__ import annotations

import pytest
import torch

from lid_toolkit.models.specaug import SpecAug, random_spans, warp_time

LENGTHS = torch.tensor([200, 57, 3, 2, 1])


def ones(frames=200, dims=40):
    return torch.ones(len(LENGTHS), frames, dims)


def test_no_utterance_loses_all_its_frames_or_features():
    masks = SpecAug(apply_time_warp=False, freq_mask_width_range=(30, 41), time_mask_width_range=(90, 200))
    for seed in range(20):
        torch.manual_seed(seed)
        out = masks(ones(), LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            assert out[row, :length].any()


@pytest.mark.parametrize("length", [10, 33])
def test_spans_lie_within_the_length_at_every_place(length):
    lengths = torch.full((4000,), length)
    hidden = random_spans(lengths, torch.full((4000, 1), 4), size=40)
    assert not hidden[:, length:].any()
    assert (hidden.sum(dim=1) == 4).all()
    starts = hidden.int().argmax(dim=1).bincount()
    assert len(starts) == length - 4 + 1
    expected = 4000 / len(starts)
    assert ((starts - expected) ** 2 / expected).sum() < 3 * len(starts)


def test_spans_are_as_wide_as_in_a_batch_of_ones_own():
    """Width 0 means no span: other utterances' spans do not shorten an utterance's own."""
    widths = torch.tensor([[9, 0, 0, 0], [9, 9, 9, 9], [0, 9, 9, 0]])
    hidden = random_spans(torch.tensor([12, 12, 12]), widths, size=12)
    assert hidden[0].sum() == 9  # of at most 11
    assert 2 <= hidden[1].sum() <= 4 * 2  # each at most 11 // 4
    assert 5 <= hidden[2].sum() <= 2 * 5


def test_widths_are_half_open_as_in_espnet():
    masks = SpecAug(
        apply_time_warp=False, apply_freq_mask=False, num_time_mask=1, time_mask_width_range=(2, 6)
    )
    out = masks(torch.ones(3000, 50, 1), torch.full((3000,), 50))
    assert set((out == 0).sum(dim=(1, 2)).tolist()) == {2, 3, 4, 5}


def test_widths_as_a_share_of_the_utterance():
    masks = SpecAug(
        apply_time_warp=False, apply_freq_mask=False, num_time_mask=1, time_mask_width_ratio_range=(0.1, 0.2)
    )
    out = masks(torch.ones(500, 100, 1), torch.tensor([100, 50] * 250))
    hidden = (out == 0).sum(dim=(1, 2))
    assert hidden[::2].min() >= 10
    assert hidden[::2].max() < 20
    assert hidden[1::2].max() < 10


def test_the_seed_decides_and_evaluation_changes_nothing():
    masks, feats = SpecAug(), torch.randn(len(LENGTHS), 200, 40)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(masks(feats, LENGTHS))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert masks.eval()(feats, LENGTHS) is feats


def test_warping_keeps_ends_order_and_length():
    time = torch.arange(120, dtype=torch.float32)[None, :, None].repeat(50, 1, 1)
    lengths = torch.full((50,), 100)
    time[:, 100:] = torch.nan
    warped = warp_time(time, lengths, 5, "bilinear")[:, :100, 0]
    assert torch.isfinite(warped).all()
    assert (warped.diff(dim=1) >= 0).all()
    assert (warped[:, -1] == 99).all()
    assert 0 < (warped - time[:, :100, 0]).abs().max() <= 5.01


def test_short_utterances_are_not_warped():
    feats = torch.randn(len(LENGTHS), 200, 4)
    for mode in ("bicubic", "bilinear"):
        assert torch.allclose(warp_time(feats, torch.clamp(LENGTHS, max=10), 5, mode), feats)


def test_cubic_warping_is_torchs_bicubic():
    feats = torch.randn(1, 40, 3)
    torch.manual_seed(3)
    warped = warp_time(feats, torch.tensor([40]), 5, "bicubic")
    torch.manual_seed(3)
    source = warp_time(torch.arange(40.0)[None, :, None], torch.tensor([40]), 5, "bilinear")[0, :, 0]
    grid = torch.stack((torch.zeros_like(source), 2 * source / 39 - 1), dim=1)[None, :, None]
    image = feats.transpose(1, 2)[..., None]
    theirs = torch.nn.functional.grid_sample(
        image, grid, mode="bicubic", padding_mode="border", align_corners=True
    )
    assert torch.allclose(warped[0], theirs[0, :, :, 0].T, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("frames", [280, 1000, 1201, 2600])
def test_half_precision_warps_the_same_frames(frames, dtype):
    """bfloat16 holds whole numbers up to 256, float16 up to 2048: places must not be in it."""
    feats, warped = torch.randn(2, frames, 3).to(dtype), []
    for form in (dtype, torch.float32):
        torch.manual_seed(3)
        warped.append(warp_time(feats.to(form), torch.tensor([frames, frames - 9]), 5, "bicubic"))
    assert warped[0].dtype == dtype
    assert (warped[0].float() - warped[1]).norm() < 0.01 * warped[1].norm()


def test_hidden_places_may_hold_the_utterances_own_mean():
    masks = SpecAug(apply_time_warp=False, replace_with_zero=False, time_mask_width_range=(1, 20))
    feats = 3 * ones()
    feats[1, 57:] = torch.nan
    out = masks(feats, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.allclose(out[row, :length], feats[row, :length])


def test_two_ranges_of_time_masks_are_refused():
    with pytest.raises(ValueError, match="one of them"):
        SpecAug(time_mask_width_range=3, time_mask_width_ratio_range=0.1)
