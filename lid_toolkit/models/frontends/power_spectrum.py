"""Power spectra of padded waveforms, each mirrored at its own end.

Shapes: b batch, t time, f frequency bins, m filters, n samples of a window.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Window
from lid_toolkit.models.exporting import is_exporting
from lid_toolkit.models.masking import continue_by_zeros, mirror_ends, padding_mask, zero_padding

Ends = Literal["mirror", "zeros", "none"]

BLOCK_FRAMES = 8192
"""More than the frames of a crop in training: compiled code then has one block."""


def centred_window(name: Window | None, win_length: int, n_fft: int) -> Tensor:
    """Return a periodic window (n_fft,) of ``win_length`` samples with zeros at both ends.

    Args:
        name: shape of the window; None is rectangular.
        win_length: length of the window in samples.
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


def filtered_power(
    wave_bt: Tensor,
    lengths_b: Tensor,
    window_n: Tensor,
    filters_fm: Tensor,
    hop_length: int,
    ends: Ends = "mirror",
) -> tuple[Tensor, Tensor]:
    """Return filtered power spectra (B, frames, filters) and each utterance's frame count (B,).

    Spectra need several times the memory of a waveform, so they are computed for at most ``BLOCK_FRAMES``
    frames at a time. On a CPU the result is that of a single block, bit for bit.

    Args:
        wave_bt: waveforms, float32, padded at the end with arbitrary values.
        lengths_b: number of valid samples of each, on the CPU. Utterances too short for one frame, or
            too short to be mirrored, are padded with zeros.
        window_n: window, as long as the transform.
        filters_fm: filters (n_fft // 2 + 1, filters).
        hop_length: samples between frames.
        ends: with ``mirror`` or ``zeros``, frame t is centred on sample ``t * hop_length``, and the signal
            is mirrored or padded with zeros at both ends. With ``none``, frame t begins at this sample, and
            samples after the last whole frame are not used.
    """
    n_fft = len(window_n)
    reach = 0 if ends == "none" else n_fft // 2
    wave_bt, lengths_b = continue_by_zeros(
        wave_bt, lengths_b, {"mirror": reach + 1, "none": n_fft}.get(ends, 1)
    )
    if ends == "mirror":
        wave_bt = mirror_ends(wave_bt, lengths_b, reach)
    elif ends == "zeros":
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        wave_bt = F.pad(zero_padding(wave_bt[:, None], mask_b1t)[:, 0], (reach, reach))
    energies = [
        frame_power(block_bt.unfold(1, n_fft, hop_length) * window_n, n_fft) @ filters_fm
        for block_bt in _blocks(wave_bt, n_fft, hop_length)
    ]
    energy_btm = energies[0] if len(energies) == 1 else torch.cat(energies, dim=1)
    return energy_btm, (lengths_b + 2 * reach - n_fft) // hop_length + 1


def _blocks(wave_bt: Tensor, n_fft: int, hop_length: int) -> list[Tensor]:
    """Cut waveforms into blocks of nearly as many frames each, at most ``BLOCK_FRAMES``.

    A block overlaps the next one by the samples that frames of both read.
    """
    frames = (wave_bt.shape[1] - n_fft) // hop_length + 1
    if is_exporting() or frames <= BLOCK_FRAMES:  # a graph has no loop over blocks
        return [wave_bt]
    number = -(-frames // BLOCK_FRAMES)
    bounds = [frames * block // number for block in range(number + 1)]
    return [
        wave_bt[:, first * hop_length : (stop - 1) * hop_length + n_fft]
        for first, stop in itertools.pairwise(bounds)
    ]


def frame_power(frames_btn: Tensor, n_fft: int) -> Tensor:
    """Return the power spectra (B, frames, n_fft // 2 + 1) of windowed frames of at most ``n_fft`` samples.

    While a model is exported, they are computed by a matrix product: other runtimes lack transforms.
    """
    if not is_exporting():
        spectrum_btf = torch.fft.rfft(frames_btn, n=n_fft)
        return torch.view_as_real(spectrum_btf).square().sum(-1)
    bins = n_fft // 2 + 1
    # In float64, and in turns below 1, so that cosines and sines are exact to float32's last digit.
    turns_nf = torch.arange(frames_btn.shape[2])[:, None] * torch.arange(bins) % n_fft
    angle_nf = turns_nf.double() * (2 * math.pi / n_fft)
    products_btf = frames_btn @ torch.cat((angle_nf.cos(), angle_nf.sin()), dim=1).float()
    return products_btf[..., :bins].square() + products_btf[..., bins:].square()
