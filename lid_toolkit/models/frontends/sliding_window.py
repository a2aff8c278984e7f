"""Frames of raw samples (``frontend: sliding_window``).

Shapes: b batch, t time, d features.
"""

from __future__ import annotations

from torch import Tensor

from lid_toolkit.models.arguments import PositiveInt, SamplingRate, component
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.masking import continue_by_zeros


@component(fixed={"channels": 1, "padding": None}, small={"win_length": 16, "hop_length": 80})
class SlidingWindowFrontend(FrontendBase):
    """Overlapping windows of the waveform: feature d of frame t is sample ``t * hop_length + d``.

    ESPnet's ``sliding_window`` for one channel, without an axis for channels: (B, samples) to
    (B, frames, win_length), frames = (samples - win_length) / hop_length + 1, rounded down. Samples after
    the last whole window are not used; a waveform shorter than one window is padded with zeros.

    Args:
        win_length: length of a window in samples, which is the dimension of the features.
        hop_length: samples between windows.
        fs: sampling rate in Hz; ``16k`` means 16000; null for any.
    """

    def __init__(
        self,
        win_length: PositiveInt = 400,
        hop_length: PositiveInt = 160,
        fs: SamplingRate | None = None,
    ) -> None:
        super().__init__()
        self.output_size, self.hop_length, self.rate = win_length, hop_length, fs

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return windows (B, frames, win_length) and each utterance's number of them (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        wave_bt, lengths_b = continue_by_zeros(wave_bt.float(), lengths_b, self.output_size)
        windows_btd = wave_bt.unfold(1, self.output_size, self.hop_length)
        return windows_btd, (lengths_b - self.output_size) // self.hop_length + 1
