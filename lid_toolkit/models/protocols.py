"""The interface of each kind of component: everything that the model and other packages rely on.

Other packages read these attributes and never test a component's name or class. Your own component defines
them itself, or inherits defaults from :mod:`lid_toolkit.models.bases`.

Shapes: b batch, t time, d features, c channels, p pooled numbers, e embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeGuard, TypeVar, cast

import torch
from torch import Tensor, nn

from lid_toolkit.data.targets import TargetKind

Kind = Literal["frontend", "specaug", "normalize", "encoder", "pooling", "projector", "loss"]
"""The kinds of components, each by its key in a training YAML."""


Own = TypeVar("Own", bound="Part")
"""The class of the component itself."""


class Part(Protocol):
    """The attributes that every ``nn.Module`` has."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters."""

    def get_submodule(self, target: str) -> nn.Module:
        """Return a part by its dotted name."""

    def eval(self: Own) -> Own:
        """Switch to evaluation mode."""

    def to(self: Own, device: torch.device) -> Own:
        """Move to a device."""


class Frontend(Part, Protocol):
    """Waveforms to features."""

    @property
    def rate(self) -> int | None:
        """Sampling rate of the waveforms in Hz; None if it accepts any."""

    @property
    def hop_length(self) -> int:
        """Samples between frames."""

    @property
    def output_size(self) -> int:
        """Number of features D in a frame."""

    @property
    def frozen(self) -> bool:
        """Whether training never changes what :meth:`FrozenFrontend.frozen_states` computes."""

    @property
    def added_samples(self) -> int:
        """Number of samples of silence that it adds to each utterance."""

    @property
    def posteriors_of(self) -> Sequence[str]:
        """Languages whose log posteriors are the first features of each frame, in order; usually empty."""

    @staticmethod
    def one_frame_per_utterance(conf: Mapping[str, object]) -> bool:
        """Return whether a front end with these arguments gives one frame for an utterance of any length.

        Such features cannot be cropped. The front end need not be built to know this.
        """

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments to store in a model file, given those of the configuration.

        The front end can be built from them without its initial pretrained weights.
        """

    def __call__(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, D) and each utterance's frame count (B,), on the CPU.

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end with arbitrary values.
            lengths_b: number of valid samples of each, int64, on the CPU.
        """


class FrozenFrontend(Frontend, Protocol):
    """A front end whose ``frozen`` is true: its states can be stored and reused."""

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`."""

    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return states that do not change in training, (B, frames, states_size), and frame counts (B,).

        The front end accepts these states instead of waveforms.
        """


class FrameStore(FrozenFrontend, Protocol):
    """A front end whose frozen states are frames, and whose features, which training changes, are one vector.

    It has a true attribute ``stores_frames``.
    """

    def initial_features(self, states_btd: Tensor) -> Tensor:
        """Return the features (B, 1, D) before training, from frozen states (B, frames, states_size)."""


class FeatureMap(Part, Protocol):
    """Features to features (B, T, D), such as SpecAugment."""

    def __call__(self, feats_btd: Tensor, lengths_b: Tensor) -> Tensor:
        """Map features (B, T, D) and their lengths (B,) to (B, T, D)."""


class Normalizer(FeatureMap, Protocol):
    """A feature normaliser."""

    @property
    def needs_statistics(self) -> bool:
        """Whether it uses mean and variance of the training set; an attribute of the class."""

    @property
    def unchanged(self) -> int:
        """Number of leading features that it does not change."""

    def set_statistics(self, count: Tensor, sum_d: Tensor, sum_square_d: Tensor) -> None:
        """Set the number, the sum and the sum of squares of the training set's frames, if it needs them."""


class Encoder(Part, Protocol):
    """Features to frame-level outputs."""

    @property
    def output_size(self) -> int:
        """Channels C of the output."""

    def __call__(self, feats_btd: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, T, D) and their lengths (B,) to outputs (B, C, T') and their lengths (B,)."""


class Pooling(Part, Protocol):
    """Frame-level outputs to one vector for each utterance."""

    @property
    def output_size(self) -> int:
        """Size P of the vector."""

    def __call__(self, x_bct: Tensor, lengths_b: Tensor) -> Tensor:
        """Map (B, C, T) and lengths (B,) to (B, P)."""


class CountingPooling(Pooling, Protocol):
    """A pooling that divides by the number of frames of the features, as those of ESPnet do."""

    def __call__(self, x_bct: Tensor, lengths_b: Tensor, frames_b: Tensor | None = None) -> Tensor:
        """Map (B, C, T), lengths (B,) and the lengths of the features (B,) to (B, P)."""


class Projector(Part, Protocol):
    """Pooled vectors to embeddings."""

    @property
    def output_size(self) -> int:
        """Dimension E of the embeddings."""

    def __call__(self, pooled_bp: Tensor) -> Tensor:
        """Map (B, P) to (B, E)."""


class Loss(Part, Protocol):
    """Embeddings to language scores and training loss."""

    @property
    def by_class(self) -> Sequence[str]:
        """Names of parameters whose rows belong to the languages: equally many rows each, in index order."""

    @property
    def reads_posteriors(self) -> bool:
        """Whether it uses the first numbers of an embedding as log posteriors of the languages."""

    def logits(self, embedding_be: Tensor) -> Tensor:
        """Return (B, languages): log posteriors, up to a constant for each utterance."""

    def __call__(self, embedding_be: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each utterance's loss (B,) and the scores (B, languages).

        Args:
            embedding_be: embeddings.
            targets: class indices (B,), int64; weights (B, languages), float32,
                for the kinds in :func:`target_kinds`.
        """


PROTOCOLS: Mapping[Kind, type] = {
    "frontend": Frontend,
    "specaug": FeatureMap,
    "normalize": Normalizer,
    "encoder": Encoder,
    "pooling": Pooling,
    "projector": Projector,
    "loss": Loss,
}


def missing(kind: Kind, part: nn.Module) -> list[str]:
    """Return the names of the attributes of a kind of component that a module lacks."""
    wanted = {name for base in PROTOCOLS[kind].__mro__ for name in vars(base) if not name.startswith("_")}
    absent = sorted(name for name in wanted if not hasattr(part, name))
    return absent if type(part).forward is not nn.Module.forward else [*absent, "forward"]


def corrects_posteriors(frontend: Frontend) -> bool:
    """Return whether a front end gives a correction of each of its log posteriors, right after all of them.

    The corrections are trained with the front end, and are 0 before. Such a front end has a true attribute
    ``corrects_posteriors``.
    """
    return getattr(frontend, "corrects_posteriors", False)


def stores_frames(frontend: Frontend) -> TypeGuard[FrameStore]:
    """Return whether a front end is a :class:`FrameStore`."""
    return getattr(frontend, "stores_frames", False)


def counts_features(pooling: Pooling) -> bool:
    """Return whether a pooling is a :class:`CountingPooling`; it then has a true attribute of this name."""
    return getattr(pooling, "counts_features", False)


def pool(pooling: Pooling, x_bct: Tensor, lengths_b: Tensor, frames_b: Tensor) -> Tensor:
    """Return the pooled vectors (B, P).

    Args:
        pooling: the pooling.
        x_bct: the encoder's output (B, C, T).
        lengths_b: its valid frames.
        frames_b: the valid frames of the features.
    """
    if counts_features(pooling):
        return cast(CountingPooling, pooling)(x_bct, lengths_b, frames_b)
    return pooling(x_bct, lengths_b)


def target_kinds(loss: Loss) -> Sequence[TargetKind]:
    """Return the kinds of weights that a loss can be trained with instead of labels.

    A loss that can be trained with weights names the kinds in an attribute ``target_kinds``.
    """
    kinds: Sequence[TargetKind] = getattr(loss, "target_kinds", ())
    return kinds


def note_trained(loss: Loss, trained_c: Tensor) -> None:
    """Tell a loss which classes (C,), bool, the training data have.

    A loss for which this makes a difference has a method ``set_trained``.
    """
    note = getattr(loss, "set_trained", None)
    if note is not None:
        note(trained_c)


def skips_parameters(model: nn.Module) -> bool:
    """Return whether some batches leave trained parameters of a model without a gradient.

    A part of the model that does this, for example because it drops layers at random, has a true attribute
    ``skips_parameters``.
    """
    return any(getattr(part, "skips_parameters", False) for part in model.modules())


def skips_blocks(model: nn.Module) -> bool:
    """Return whether the processes of a training may skip different blocks of a model in the same update.

    If weights are sharded, the other processes would wait forever for the shard of a process that skips a
    block. A part of the model that skips blocks has a true attribute ``skips_blocks``.
    """
    return any(getattr(part, "skips_blocks", False) for part in model.modules())
