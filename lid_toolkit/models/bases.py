"""Base classes with defaults for the attributes of the protocols; a component overrides what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lid_toolkit.data.targets import TargetKind


class FrontendBase(nn.Module):
    """A front end without pretrained weights; a subclass sets ``rate``, ``hop_length``, ``output_size``.

    See :class:`.protocols.Frontend`.
    """

    rate: int | None
    hop_length: int
    output_size: int
    frozen: bool = False
    added_samples: int = 0

    @property
    def posteriors_of(self) -> Sequence[str]:
        """No languages: the features are not log posteriors."""
        return ()

    @staticmethod
    def one_frame_per_utterance(conf: Mapping[str, object]) -> bool:  # noqa: ARG004 - for subclasses
        """Return False: longer utterances have more frames."""
        return False

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments as they are."""
        return dict(conf)


class AnswerFrontend(FrontendBase):
    """A frozen front end whose one frame per utterance is an answer: log posteriors, and perhaps more.

    A subclass has :meth:`answers` and sets ``rate``, ``hop_length`` and ``output_size``. Instead of
    waveforms, it also accepts the result of :meth:`frozen_states`.
    """

    frozen = True

    @staticmethod
    def one_frame_per_utterance(conf: Mapping[str, object]) -> bool:  # noqa: ARG004 - always
        """Return True."""
        return True

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`."""
        return self.output_size

    def answers(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return one frame (B, 1, D) of each utterance.

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.
        """
        raise NotImplementedError

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 1, D) and ones (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end; or the result of :meth:`frozen_states`.
            lengths_b: number of valid samples of each, on the CPU.
        """
        if wave_bt.dim() == 3:
            return wave_bt.float(), lengths_b
        return self.frozen_states(wave_bt, lengths_b)

    @torch.no_grad()
    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 1, D) and ones (B,)."""
        return self.answers(wave_bt, lengths_b), torch.ones_like(lengths_b)


class NormalizerBase(nn.Module):
    """A normaliser that needs no statistics of the training set; see :class:`.protocols.Normalizer`."""

    needs_statistics: bool = False
    unchanged: int = 0

    def set_statistics(self, count: Tensor, sum_d: Tensor, sum_square_d: Tensor) -> None:  # noqa: ARG002
        """Raise TypeError: no statistics are needed."""
        raise TypeError(f"{type(self).__name__} takes no statistics")


class LossBase(nn.Module):
    """A loss on embeddings; a subclass has ``logits`` and ``forward``. See :class:`.protocols.Loss`."""

    by_class: Sequence[str] = ()
    target_kinds: Sequence[TargetKind] = ()

    @property
    def reads_posteriors(self) -> bool:
        """False: the embedding holds no log posteriors."""
        return False
