"""Rooms, noise, equaliser and level for a padded batch, on the device that the model is trained on.

The random choices are made in the readers (:func:`lid_toolkit.data.preprocess.draw`). The batch carries what
was drawn, and the results equal those of :mod:`lid_toolkit.augment.distortions` but for rounding.

Shapes: b batch, t samples, n utterances with one distortion, k taps of a filter, f frequencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.augment.distortions import SILENCE_POWER
from lid_toolkit.augment.drawn import Drawn, Noise
from lid_toolkit.augment.fourier import fast_size


class Filters(NamedTuple):
    """Filters of some utterances: their rows in the batch, and zero-padded taps (N, K) float32."""

    rows_n: Tensor
    taps_nk: Tensor


class Noises(NamedTuple):
    """One noise for each of some utterances.

    Attributes:
        rows_n: rows in the batch, each once.
        snr_db_n: signal-to-noise ratios in dB, float32.
        source_nt: zero-padded samples, float32; or spectra (N, F) of white noise, complex64.
        slopes_n: exponents of the frequency of synthesised noise, float32; None: ``source_nt`` are samples.
        sizes: number of samples of each synthesised noise; empty without ``slopes_n``.
    """

    rows_n: Tensor
    snr_db_n: Tensor
    source_nt: Tensor
    slopes_n: Tensor | None
    sizes: tuple[int, ...]


class Levels(NamedTuple):
    """Peak levels of some utterances: their rows in the batch, and amplitudes (N,) float32."""

    rows_n: Tensor
    peaks_n: Tensor


class Later(NamedTuple):
    """What is done with one utterance on the device.

    Attributes:
        drawn: rooms, noise, equaliser and level.
        samples: length before it is cropped.
        start: first sample that is kept.
    """

    drawn: Drawn
    samples: int
    start: int


class BatchDistortions(NamedTuple):
    """What is done with a batch on the device, in the order of the attributes; None or empty: nothing.

    Attributes:
        samples_b: length of each utterance before it is cropped, int64.
        rooms: impulse responses.
        noises: the first noise of all utterances that have one, the second of those that have two, and so on.
        equalisers: filters with zero phase.
        levels: peak levels.
        starts_b: first sample that is kept of each utterance, int64; None: 0 for all.
    """

    samples_b: Tensor
    rooms: Filters | None
    noises: tuple[Noises, ...]
    equalisers: Filters | None
    levels: Levels | None
    starts_b: Tensor | None


def collate(laters: Sequence[Later]) -> BatchDistortions:
    """Return the distortions of a batch from those of its utterances, in the order of its rows."""
    drawn = [later.drawn for later in laters]
    starts = [later.start for later in laters]
    levels = {row: 10 ** (d.peak_db / 20) for row, d in enumerate(drawn) if d.peak_db is not None}
    return BatchDistortions(
        torch.tensor([later.samples for later in laters], dtype=torch.int64),
        _filters({row: d.room for row, d in enumerate(drawn) if d.room is not None}),
        tuple(noises for layer in zip_longest(*(d.noises for d in drawn)) for noises in _noises(layer)),
        _filters({row: d.equaliser for row, d in enumerate(drawn) if d.equaliser is not None}),
        Levels(torch.tensor(list(levels)), torch.tensor(list(levels.values()))) if levels else None,
        torch.tensor(starts) if any(starts) else None,
    )


def distort(wave_bt: Tensor, lengths_b: Tensor, distortions: BatchDistortions) -> Tensor:
    """Distort and crop a batch.

    Args:
        wave_bt: float32 samples, zero from ``distortions.samples_b`` on; not changed.
        lengths_b: number of samples of each utterance that are kept, on the CPU.
        distortions: what to do.

    Returns:
        Float32 samples (B, largest of ``lengths_b``) on the device of ``wave_bt``, zero-padded.
    """
    device, kept = wave_bt.device, int(lengths_b.max())
    # Under autocast, a product would be computed in 16 bits.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        samples_b, rooms, noises, equalisers, levels, starts_b = moved(distortions, device)
        time_t = torch.arange(wave_bt.shape[1], device=device)
        batch = _Batch(wave_bt, samples_b, time_t < samples_b[:, None])
        if rooms is not None:
            batch = batch.changed(rooms.rows_n, reverberate, rooms.taps_nk)
        if noises:
            batch = batch._replace(wave_bt=batch.wave_bt + added_noise(batch, noises))
        if equalisers is not None:
            batch = batch.changed(equalisers.rows_n, equalise, equalisers.taps_nk)
        if levels is not None:
            batch = batch.changed(levels.rows_n, change_level, levels.peaks_n)
        wave_bt = batch.wave_bt
        if starts_b is not None:
            index_bt = starts_b[:, None] + time_t[:kept]
            wave_bt = wave_bt.gather(1, index_bt.clamp(max=wave_bt.shape[1] - 1))
            lengths_b = lengths_b.to(device, non_blocking=True)
            wave_bt = wave_bt * (time_t[:kept] < lengths_b[:, None])
        return wave_bt[:, :kept]


class _Batch(NamedTuple):
    """Some utterances: samples, lengths, and which samples are not padding, all on the device."""

    wave_bt: Tensor
    samples_b: Tensor
    valid_bt: Tensor

    def rows(self, rows_n: Tensor) -> _Batch:
        return _Batch(*(values[rows_n] for values in self))

    def changed(self, rows_n: Tensor, change: Callable[[_Batch, Tensor], Tensor], drawn: Tensor) -> _Batch:
        """Return the batch with some rows replaced by what ``change`` makes of them and their draws."""
        return self._replace(wave_bt=self.wave_bt.index_copy(0, rows_n, change(self.rows(rows_n), drawn)))

    def power(self, wave_bt: Tensor) -> Tensor:
        """Return the mean square of samples that are 0 in the padding, (B,)."""
        return wave_bt.square().sum(1) / self.samples_b


def reverberate(batch: _Batch, responses_nk: Tensor) -> Tensor:
    """Convolve with impulse responses and restore the power; silence is not changed."""
    wet_nt = convolve(batch.wave_bt, responses_nk) * batch.valid_bt
    wet_power_n = batch.power(wet_nt)
    gain_n = (batch.power(batch.wave_bt) / wet_power_n).sqrt()
    return torch.where((wet_power_n < SILENCE_POWER)[:, None], batch.wave_bt, wet_nt * gain_n[:, None])


def equalise(batch: _Batch, taps_nk: Tensor) -> Tensor:
    """Apply filters whose middle taps are at time 0."""
    return convolve(batch.wave_bt, taps_nk, taps_nk.shape[1] // 2) * batch.valid_bt


def added_noise(batch: _Batch, noises: Sequence[Noises]) -> Tensor:
    """Return the sum of all noises (B, T), each scaled to its ratio to the speech without noise."""
    total_bt = torch.zeros_like(batch.wave_bt)
    speech_power_b = batch.power(batch.wave_bt)
    for noise in noises:
        part = batch.rows(noise.rows_n)
        noise_nt = _samples(noise, part.wave_bt.shape[1]) * part.valid_bt
        power_n, noise_power_n = speech_power_b[noise.rows_n], part.power(noise_nt)
        heard_n = (power_n >= SILENCE_POWER) & (noise_power_n >= SILENCE_POWER)
        gain_n = (power_n / noise_power_n * 10 ** (-noise.snr_db_n / 10)).sqrt()
        scaled_nt = noise_nt * torch.where(heard_n, gain_n, 0.0)[:, None]
        # Rows are written, not added to in any order: addition in parallel would round differently each time.
        total_bt = total_bt.index_copy(0, noise.rows_n, total_bt[noise.rows_n] + scaled_nt)
    return total_bt


def change_level(batch: _Batch, peaks_n: Tensor) -> Tensor:
    """Scale so that the largest absolute samples are ``peaks_n``; silence is not changed."""
    largest_n = batch.wave_bt.abs().amax(1)
    gain_n = torch.where(largest_n.square() < SILENCE_POWER, 1.0, peaks_n / largest_n)
    return batch.wave_bt * gain_n[:, None]


def convolve(wave_nt: Tensor, taps_nk: Tensor, first: int = 0) -> Tensor:
    """Return samples ``first`` to ``first + T`` of the linear convolutions of (N, T) with (N, K)."""
    samples = wave_nt.shape[1]
    size = fast_size(samples + taps_nk.shape[1] - 1)
    product_nf = torch.fft.rfft(wave_nt, size) * torch.fft.rfft(taps_nk, size)
    wave_nt = torch.fft.irfft(product_nf, size)
    return wave_nt[:, first : first + samples]


def moved(value: Any, device: torch.device) -> Any:
    """Return nested tuples of tensors with all tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        parts = [moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _samples(noise: Noises, samples: int) -> Tensor:
    """Return the noise (N, T), synthesised if need be; only its shape counts, not its power."""
    source_nt, slopes_n = noise.source_nt, noise.slopes_n
    noise_nt = source_nt.new_zeros((len(source_nt), samples), dtype=torch.float32)
    if slopes_n is None:
        noise_nt[:, : source_nt.shape[1]] = source_nt
        return noise_nt
    bins_f = torch.arange(1, source_nt.shape[1] + 1, device=source_nt.device)
    coloured_nf = source_nt * bins_f ** (-slopes_n[:, None] / 2)
    for size in sorted(set(noise.sizes)):
        # The numbers of the rows are known on the CPU, so no size is asked of the device.
        rows = [row for row, own in enumerate(noise.sizes) if own == size]
        wave_nt = torch.fft.irfft(coloured_nf[rows, : size // 2 + 1], size, norm="ortho")
        filled = min(size, samples)
        noise_nt[rows, :filled] = wave_nt[:, :filled]
    return noise_nt


def _filters(taps: dict[int, np.ndarray]) -> Filters | None:
    return Filters(torch.tensor(list(taps)), _padded(list(taps.values()))) if taps else None


def _noises(layer: Sequence[Noise | None]) -> Iterator[Noises]:
    """Yield the recorded and the synthesised noises of at most one noise for each row."""
    recorded = {row: noise for row, noise in enumerate(layer) if noise and noise.slope is None}
    made = {row: noise for row, noise in enumerate(layer) if noise and noise.slope is not None}
    for noises in filter(None, (recorded, made)):
        sources = [noise.source for noise in noises.values()]
        slopes = [noise.slope for noise in made.values()] if noises is made else None
        yield Noises(
            torch.tensor(list(noises)),
            torch.tensor([noise.snr_db for noise in noises.values()], dtype=torch.float32),
            _padded(sources),
            None if slopes is None else torch.tensor(slopes, dtype=torch.float32),
            () if slopes is None else tuple(2 * len(source) - 2 for source in sources),
        )


def _padded(arrays: Sequence[np.ndarray]) -> Tensor:
    return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
