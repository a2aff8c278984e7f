"""Inputs of pretrained encoders: normalised waveforms, Kaldi filter banks, Whisper's log-mel.

Each module maps waveforms (B, T) and their lengths (B,), on the CPU, to inputs and their lengths. They are
always computed in float32, also under autocast. An utterance's inputs are the same in every batch.

Shapes: b batch, t time, n samples of a frame, f frequency bins, m mel filters, d features, s stacked frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.frontends.power_spectrum import frame_power
from lid_toolkit.models.masking import continue_by_zeros, masked_mean, padding_mask, zero_padding

RATE = 16000
FRAME, HOP = 400, 160  # 25 ms and 10 ms
VARIANCE_FLOOR = 1e-7
WaveNorm = Literal["none", "unit_variance", "layer_norm"]
"""Normalisation of a waveform: none, as in ``transformers``, or as in fairseq and s3prl."""
WAVE_FLOORS: Mapping[WaveNorm, float | None] = {
    "none": None,
    "unit_variance": VARIANCE_FLOOR,
    "layer_norm": 1e-5,
}
"""What is added to the variance. The two differ for quiet speech: at -50 dB, its variance is 1e-5."""
KALDI_FLOOR = 1.192092955078125e-07
WHISPER_FLOOR = 1e-10


class NormalizedWave(nn.Module):
    """Waveform of zero mean and unit variance, as in the training of wav2vec 2.0, XLS-R, MMS and others.

    Args:
        norm: how the valid samples are normalised; ``none`` leaves them as they are.
        shortest: shorter waveforms are padded with zeros to this number of samples.
    """

    def __init__(self, norm: WaveNorm, shortest: int) -> None:
        super().__init__()
        self.norm, self.shortest = norm, shortest

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return waveforms (B, T'), zero beyond their ends, and lengths (B,)."""
        wave_b1t = wave_bt.float()[:, None]
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        floor = WAVE_FLOORS[self.norm]
        if floor is not None:
            wave_b1t = wave_b1t - masked_mean(wave_b1t, mask_b1t)
            variance_b11 = masked_mean(wave_b1t.square(), mask_b1t)
            wave_b1t = wave_b1t * torch.rsqrt(variance_b11 + floor)
        return continue_by_zeros(zero_padding(wave_b1t, mask_b1t)[:, 0], lengths_b, self.shortest)


class KaldiFilterbank(nn.Module):
    """80 log-mel energies as Kaldi computes them, normalised, two frames stacked: w2v-BERT 2.0's input.

    A Povey window of 25 ms every 10 ms, pre-emphasis 0.97, no mirrored edges; each band has zero mean and
    unit variance over the utterance (``SeamlessM4TFeatureExtractor`` of transformers).
    """

    BANDS, STRIDE = 80, 2
    SHORTEST = FRAME + HOP * (STRIDE - 1)

    def __init__(self) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters_fm = mel_filter_bank(
            num_frequency_bins=257,
            num_mel_filters=self.BANDS,
            min_frequency=20,
            max_frequency=RATE // 2,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.filters_fm: Tensor
        self.window_n: Tensor
        self.register_buffer("filters_fm", torch.from_numpy(filters_fm).float(), persistent=False)
        self.register_buffer("window_n", torch.hann_window(FRAME, periodic=False) ** 0.85, persistent=False)

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, 160), zero beyond their ends, and frames (B,)."""
        wave_bt, lengths_b = continue_by_zeros(wave_bt.float(), lengths_b, self.SHORTEST)
        with torch.autocast(wave_bt.device.type, enabled=False):
            frames_btn = (2.0**15 * wave_bt).unfold(1, FRAME, HOP)
            frames_btn = frames_btn - frames_btn.mean(dim=2, keepdim=True)
            before_btn = torch.cat((frames_btn[..., :1], frames_btn[..., :-1]), dim=2)
            windowed_btn = (frames_btn - 0.97 * before_btn) * self.window_n
            energy_btm = frame_power(windowed_btn, 512) @ self.filters_fm
            feats_bmt = energy_btm.clamp(min=KALDI_FLOOR).log().double().transpose(1, 2)
            count_b = (lengths_b - FRAME) // HOP + 1
            mask_b1t = padding_mask(count_b, feats_bmt.shape[2], feats_bmt.device)
            feats_bmt = feats_bmt - masked_mean(feats_bmt, mask_b1t)
            unbiased_b11 = (count_b / (count_b - 1)).to(feats_bmt.device, non_blocking=True)[:, None, None]
            variance_bm1 = masked_mean(feats_bmt.square(), mask_b1t) * unbiased_b11
            feats_bmt = (feats_bmt * torch.rsqrt(variance_bm1 + VARIANCE_FLOOR)).float()
        stacked_b, steps = count_b // self.STRIDE, feats_bmt.shape[2] // self.STRIDE
        feats_btd = feats_bmt[..., : steps * self.STRIDE].transpose(1, 2).reshape(wave_bt.shape[0], steps, -1)
        mask_b1s = padding_mask(stacked_b, steps, feats_btd.device)
        return zero_padding(feats_btd.transpose(1, 2), mask_b1s).transpose(1, 2), stacked_b


class WhisperLogMel(nn.Module):
    """Whisper's log-mel energies, over the utterance's own length (Radford et al., ICML 2023).

    The utterance is followed by silence, as in Whisper's 30 s windows, but frames of silence are left
    out. Energies are at least 1e-8 times the utterance's largest energy.

    Args:
        bands: number of mel filters.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters_fm = mel_filter_bank(
            num_frequency_bins=FRAME // 2 + 1,
            num_mel_filters=bands,
            min_frequency=0.0,
            max_frequency=RATE / 2,
            sampling_rate=RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.filters_mf: Tensor
        self.window_n: Tensor
        self.register_buffer("filters_mf", torch.from_numpy(filters_fm.T).float(), persistent=False)
        self.register_buffer("window_n", torch.hann_window(FRAME), persistent=False)

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, bands, frames), zero beyond their ends, and frames (B,)."""
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        wave_bt = zero_padding(wave_bt.float()[:, None], mask_b1t)[:, 0]
        wave_bt, lengths_b = continue_by_zeros(wave_bt, lengths_b, FRAME)
        with torch.autocast(wave_bt.device.type, enabled=False):
            reach = FRAME // 2
            wave_bt = F.pad(wave_bt[:, None], (reach, 0), mode="reflect")[:, 0]
            spectrum_bft = torch.stft(
                self._continued(wave_bt, reach),
                FRAME,
                HOP,
                window=self.window_n,
                center=False,
                return_complex=True,
            )
            energy_bft = torch.view_as_real(spectrum_bft).square().sum(-1)
            count_b = lengths_b // HOP
            mel_bmt = (self.filters_mf @ energy_bft)[..., : int(count_b.max())]
            mel_bmt = mel_bmt.clamp(min=WHISPER_FLOOR).log10()
            mask_b1t = padding_mask(count_b, mel_bmt.shape[2], mel_bmt.device)
            valid_bmt = mel_bmt if mask_b1t is None else mel_bmt.masked_fill(~mask_b1t, -torch.inf)
            loudest_b11 = valid_bmt.amax(dim=(1, 2), keepdim=True)
            mel_bmt = (torch.maximum(mel_bmt, loudest_b11 - 8.0) + 4.0) / 4.0
        return zero_padding(mel_bmt, mask_b1t), count_b

    def _continued(self, wave_bt: Tensor, reach: int) -> Tensor:
        """Return the waveforms with ``reach`` samples of silence behind them."""
        return F.pad(wave_bt, (0, reach))


class WhisperWindows(WhisperLogMel):
    """Whisper's log-mel energies of whole windows of 30 s, exactly as Whisper's own code computes them.

    The last window of an utterance is filled with silence, which counts like speech. Each window is scaled by
    its own largest energy.

    Args:
        bands: number of mel filters.
        window: samples of a window.
    """

    def __init__(self, bands: int, window: int) -> None:
        super().__init__(bands)
        self.window = window

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel energies (B, bands, frames) and frames (B,), both of whole windows."""
        windows_b = (lengths_b.clamp(min=1) + self.window - 1) // self.window
        windows, batch = int(windows_b.max()), len(wave_bt)
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        wave_bt = zero_padding(wave_bt.float()[:, None], mask_b1t)[:, 0][:, : windows * self.window]
        wave_bt = F.pad(wave_bt, (0, windows * self.window - wave_bt.shape[1]))
        full_w = torch.full((batch * windows,), self.window)
        mel_wmt, _ = super().forward(wave_bt.reshape(-1, self.window), full_w)
        mel_bmt = mel_wmt.view(batch, windows, *mel_wmt.shape[1:]).transpose(1, 2).flatten(2)
        return mel_bmt, windows_b * (self.window // HOP)

    def _continued(self, wave_bt: Tensor, reach: int) -> Tensor:
        """Return the waveforms with their last samples mirrored behind them."""
        return F.pad(wave_bt[:, None], (0, reach), mode="reflect")[:, 0]
