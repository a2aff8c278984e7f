"""Base classes with defaults for the attributes of the protocols; a component overrides what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
