"""Lengths and masks on a device (meta): made once for each tensor of lengths, and again if it is changed."""

from __future__ import annotations

import torch

from lid_toolkit.models.masking import on_device, padding_mask

META = torch.device("meta")


def test_a_copy_and_a_mask_are_made_once():
    lengths = torch.tensor([3, 1])
    assert on_device(lengths, META) is on_device(lengths, META)
    mask = padding_mask(lengths, 3, META)
    assert padding_mask(lengths, 3, META) is mask
    assert padding_mask(lengths, 4, META).shape == (2, 1, 4)
    assert padding_mask(lengths.clone(), 3, META) is not mask


def test_lengths_that_are_changed_in_place_get_another_mask():
    lengths = torch.tensor([3, 1])
    cpu = torch.device("cpu")
    assert padding_mask(lengths, 3, cpu).sum() == 4
    lengths[1] = 2
    assert padding_mask(lengths, 3, cpu).sum() == 5


def test_a_mask_of_identification_can_be_used_in_training():
    lengths = torch.tensor([3, 1])
    with torch.inference_mode():
        mask = padding_mask(lengths, 3, torch.device("cpu"))
    assert not mask.is_inference()
