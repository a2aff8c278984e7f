"""Power spectra of padded waveforms, each mirrored at its own end."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Window
from lid_toolkit.models.masking import continue_by_zeros


def centred_window(name: Window | None, win_length: int, n_fft: int) -> Tensor:
    """Return a periodic window (n_fft,) of ``win_length`` samples with zeros at both ends.

    Args:
        name: its shape; None is rectangular.
        win_length: its length in samples.
        n_fft: length of the Fourier transform in samples.

    Raises:
        LidError: the window is longer than the transform.
    """
    spare = n_fft - win_length
    if spare < 0:
        raise LidError(
            f"win_length {win_length} is longer than n_fft {n_fft}",
            where="frontend_conf",
            mend="choose win_length <= n_fft",
        )
    window_n = torch.ones(win_length) if name is None else getattr(torch, f"{name}_window")(win_length)
    return F.pad(window_n, (spare // 2, spare - spare // 2))


def power_spectrum(
    wave_bt: Tensor, lengths_b: Tensor, window_n: Tensor, hop_length: int, center: bool = True
) -> tuple[Tensor, Tensor]:
    """Return power spectra (B, frames, n_fft // 2 + 1) and each utterance's frame count (B,).

    Args:
        wave_bt: waveforms, float32, padded at the end with anything.
        lengths_b: valid samples of each, on the CPU. What is too short for one frame, or to be
            mirrored, is continued by zeros.
        window_n: window, as long as the transform.
        hop_length: samples between frames.
        center: frame t stands on sample ``t * hop_length``, the signal mirrored at both ends; else
            it begins there and the samples after the last whole frame are not read.
    """
    n_fft = len(window_n)
    reach = n_fft // 2 if center else 0
    wave_bt, lengths_b = continue_by_zeros(wave_bt, lengths_b, reach + 1 if center else n_fft)
    spectrum_bft = torch.stft(
        mirror_ends(wave_bt, lengths_b, reach),
        n_fft,
        hop_length,
        window=window_n,
        center=False,
        return_complex=True,
    )
    power_btf = torch.view_as_real(spectrum_bft).square().sum(-1).transpose(1, 2)
    return power_btf, (lengths_b + 2 * reach - n_fft) // hop_length + 1


def mirror_ends(wave_bt: Tensor, lengths_b: Tensor, reach: int) -> Tensor:
    """Reflect each waveform at its start and at its own end; returns (B, T + 2 * reach).

    Beyond an utterance's mirrored tail the values are arbitrary: no valid frame reads them.
    """
    samples = wave_bt.shape[1]
    if int(lengths_b.min()) >= samples:
        return F.pad(wave_bt[:, None], (reach, reach), mode="reflect")[:, 0]
    position_t = torch.arange(-reach, samples + reach, device=wave_bt.device).abs()
    last_b1 = (lengths_b.to(wave_bt.device) - 1)[:, None]
    source_bt = (last_b1 - (last_b1 - position_t).abs()).clamp(min=0)
    return wave_bt.gather(1, source_bt)
