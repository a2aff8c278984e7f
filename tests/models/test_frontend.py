"""The log-mel front end beside torchaudio's, and its edges."""

from __future__ import annotations

import pytest
import torch
import torchaudio
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.frontend import LogMelFrontend
from lid_toolkit.models.spectrum import mirror_ends

WAVE = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize(("win_length", "hop_length"), [(400, 160), (512, 128)])
def test_log_mel_is_torchaudios(htk, win_length, hop_length):
    scale = "htk" if htk else "slaney"
    theirs = torchaudio.transforms.MelSpectrogram(
        16000, 512, win_length, hop_length, 60.0, 7600.0, n_mels=80, norm="slaney", mel_scale=scale
    )
    ours = LogMelFrontend(win_length=win_length, hop_length=hop_length, fmin=60.0, fmax=7600.0, htk=htk)
    feats, frames = ours(WAVE, torch.tensor([16000]))
    assert frames.tolist() == [feats.shape[1]] == [16000 // hop_length + 1]
    assert torch.allclose(feats, theirs(WAVE).clamp(min=1e-10).log().transpose(1, 2), atol=1e-4)


@pytest.mark.parametrize("length", [257, 300, 999, 1000])
def test_each_waveform_is_mirrored_at_its_own_end(length):
    mirrored = mirror_ends(WAVE[:, :1000], torch.tensor([length]), 256)[0]
    expected = nn.functional.pad(WAVE[:, :length], (256, 256), mode="reflect")[0]
    assert torch.equal(mirrored[: length + 512], expected)


def test_a_short_waveform_is_continued_by_zeros_whatever_the_padding():
    frontend = LogMelFrontend()
    short = WAVE[:, :3]
    alone, frames = frontend(short, torch.tensor([3]))
    padded, same = frontend(nn.functional.pad(short, (0, 700), value=9.0), torch.tensor([3]))
    assert frames.tolist() == same.tolist()
    assert torch.allclose(alone[0], padded[0, : frames[0]], atol=1e-5)


def test_silence_is_finite_and_computed_in_float32_under_autocast():
    frontend = LogMelFrontend(n_mels=40)
    assert torch.isfinite(frontend(torch.zeros(1, 800), torch.tensor([800]))[0]).all()
    plain = frontend(WAVE, torch.tensor([16000]))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = frontend(WAVE, torch.tensor([16000]))[0]
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_a_window_longer_than_the_transform_is_refused():
    with pytest.raises(LidError, match="win_length 800 is longer than n_fft 512"):
        LogMelFrontend(win_length=800)
