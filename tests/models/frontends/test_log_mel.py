"""The log-mel front end beside torchaudio's, and its edges."""

from __future__ import annotations

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
import torchaudio
from torch import nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_component
from lid_toolkit.models.frontends import power_spectrum
from lid_toolkit.models.frontends.log_mel import LogMelFrontend
from lid_toolkit.models.frontends.precomputed import PrecomputedFeatures
from lid_toolkit.models.frontends.sliding_window import SlidingWindowFrontend
from lid_toolkit.models.masking import mirror_ends

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


def test_uncentred_log_mel_is_kaldi_native_fbanks():
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = 16000
    options.frame_opts.frame_length_ms = 32
    options.frame_opts.frame_shift_ms = 10
    options.frame_opts.dither = 0
    options.frame_opts.preemph_coeff = 0
    options.frame_opts.remove_dc_offset = False
    options.frame_opts.window_type = "hann"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 40
    options.mel_opts.low_freq = 60
    options.mel_opts.high_freq = 7600
    options.mel_opts.is_librosa = True
    options.mel_opts.norm = "slaney"
    options.mel_opts.use_slaney_mel_scale = True
    options.energy_floor = 0
    theirs = knf.OnlineFbank(options)
    theirs.accept_waveform(16000, WAVE[0].tolist())
    expected = torch.tensor(np.stack([theirs.get_frame(t) for t in range(theirs.num_frames_ready)]))
    ours = LogMelFrontend(hop_length=160, n_mels=40, fmin=60, fmax=7600, center=False)
    feats, frames = ours(WAVE, torch.tensor([16000]))
    assert frames.tolist() == [len(expected)]
    assert torch.allclose(feats[0], expected, atol=1e-3)


def test_a_rate_in_kilohertz_and_the_other_arguments():
    conf = {"fs": "8k", "n_fft": 256, "window": None, "normalized": True, "onesided": True, "fmin": None}
    frontend = build_component("frontend", "default", conf, {})
    assert frontend.rate == 8000
    assert torch.equal(frontend.window_n, torch.full((256,), 1 / 16))


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("default", {"fmin": 7000, "fmax": 100}),
        ("default", {"fmin": 9000, "fmax": 10000}),
        ("default", {"fs": "8k", "fmin": 4000}),
        ("default", {"fmin": -60, "htk": True}),
        ("default", {"fmax": float("nan")}),
        ("melspec_torch", {"f_min": 7600}),
        ("speechbrain_fbank", {"f_min": 100, "f_max": 100}),
    ],
)
def test_filters_that_hear_nothing_are_refused(name, conf):
    with pytest.raises(LidError, match="frontend_conf: mel filters from"):
        build_component("frontend", name, conf, {})


@pytest.mark.parametrize(
    ("name", "conf"), [("default", {"fs": "infk"}), ("speechbrain_fbank", {"top_db": -10})]
)
def test_numbers_without_sense_are_refused(name, conf):
    with pytest.raises(LidError, match=f"frontend_conf: {next(iter(conf))}: Input should be"):
        build_component("frontend", name, conf, {})


LONG = 80 * (2 * power_spectrum.BLOCK_FRAMES + 100)
"""Samples of three blocks, with 80 samples between frames."""


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("default", {"n_mels": 16}),
        ("default", {"n_mels": 16, "center": False}),
        ("melspec_torch", {"n_mels": 16, "win_length": 64, "normalize": "mn"}),
        ("speechbrain_fbank", {"n_mels": 16}),
    ],
)
def test_a_long_utterance_is_computed_in_blocks_that_change_no_bit(name, conf, monkeypatch):
    frontend = build_component("frontend", name, {"n_fft": 64, "hop_length": 80, **conf}, {})
    wave_bt = 0.1 * torch.randn(2, LONG, generator=torch.Generator().manual_seed(2))
    lengths_b = torch.tensor([LONG, LONG // 2])
    transform, frames = torch.fft.rfft, []

    def counted(windows_btn, n):
        frames.append(windows_btn.shape[1])
        return transform(windows_btn, n=n)

    monkeypatch.setattr(torch.fft, "rfft", counted)
    blocks_btm, frames_b = frontend(wave_bt, lengths_b)
    assert len(frames) == 3
    assert max(frames) <= power_spectrum.BLOCK_FRAMES
    assert max(frames) - min(frames) <= 1
    monkeypatch.setattr(power_spectrum, "BLOCK_FRAMES", 10**9)
    whole_btm, whole_frames_b = frontend(wave_bt, lengths_b)
    assert frames[3:] == [whole_btm.shape[1]]
    assert torch.equal(blocks_btm, whole_btm)
    assert torch.equal(frames_b, whole_frames_b)


def test_windows_of_samples_and_none_of_what_follows_the_last():
    frontend = SlidingWindowFrontend(win_length=100, hop_length=60)
    feats, frames = frontend(WAVE[:, :279], torch.tensor([279]))
    assert frames.tolist() == [3]
    assert torch.equal(feats[0, 2], WAVE[0, 120:220])
    feats, frames = frontend(WAVE[:, :7], torch.tensor([7]))
    assert frames.tolist() == [1]
    assert torch.equal(feats[0, 0], nn.functional.pad(WAVE[0, :7], (0, 93)))


def test_features_pass_as_they_are():
    feats, frames = PrecomputedFeatures(3)(torch.ones(2, 5, 3), torch.tensor([5, 4]))
    assert torch.equal(feats, torch.ones(2, 5, 3))
    assert frames.tolist() == [5, 4]


def test_a_window_longer_than_the_transform_is_refused():
    with pytest.raises(LidError, match="win_length 800 is longer than n_fft 512"):
        LogMelFrontend(win_length=800)
