"""What this toolkit relies on in the models of ``transformers``, as types.

mypy is configured to skip ``transformers`` (``pyproject.toml``), so whatever it returns has no type. The two
aliases of ``Any`` below mark where such values come in; a function for encoders of one kind says by a
protocol which of their attributes it uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypedDict

from torch import Tensor, nn

Upstream: TypeAlias = Any
"""A pretrained encoder of any kind: its attributes depend on the kind, which is known when it runs."""
Settings: TypeAlias = Mapping[str, Any]
"""A checkpoint's ``config.json``: numbers, text and lists, whose keys depend on the kind of encoder."""


class _Revision(TypedDict, total=False):
    revision: str | None


class Architecture(_Revision):
    """What builds an encoder without its weights; see :func:`.load.read_architecture`."""

    config: Settings
    normalize_wave: bool


class Config(Protocol):
    """The configuration of a model; it has those of these values that its kind needs."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    conv_kernel: Sequence[int]
    conv_stride: Sequence[int]
    num_mel_bins: int
    max_source_positions: int
    encoder_layers: int
    decoder_layers: int
    decoder_start_token_id: int

    def to_json_string(self, use_diff: bool) -> str:
        """Return it as JSON, whole or without what is the default."""


class HasModules(Protocol):
    """An ``nn.Module`` whose submodules are visited."""

    def modules(self) -> Iterator[nn.Module]:
        """Yield it and the modules inside."""


class Convolutions(HasModules, Protocol):
    """The convolutions before the transformer, of wav2vec 2.0 and its relatives."""

    conv_layers: nn.ModuleList


class Stack(HasModules, Protocol):
    """Transformer layers."""

    layers: nn.ModuleList


class PositionedStack(Stack, Protocol):
    """Transformer layers after a convolution that gives the position, of wav2vec 2.0 and its relatives."""

    pos_conv_embed: nn.Module


class Output(Protocol):
    """What a model returns."""

    last_hidden_state: Tensor


class BertEncoder(Protocol):
    """w2v-BERT 2.0."""

    config: Config

    @property
    def encoder(self) -> Stack:
        """The transformer layers."""

    def __call__(
        self, inputs: Tensor, /, *, attention_mask: Tensor | None, mask_time_indices: Tensor | None
    ) -> Output:
        """Run the model on padded inputs."""


class WaveEncoder(BertEncoder, Protocol):
    """wav2vec 2.0, XLS-R, MMS, HuBERT or WavLM."""

    feature_extractor: Convolutions

    @property
    def encoder(self) -> PositionedStack:
        """The transformer layers."""


class WhisperStack(Protocol):
    """The layers of Whisper's encoder or decoder."""

    config: Config
    training: bool
    dropout: float
    layerdrop: float
    embed_positions: nn.Embedding
    layers: nn.ModuleList
    layer_norm: nn.Module


class WhisperEncoder(WhisperStack, Protocol):
    """Whisper's encoder."""

    max_source_positions: int
    conv1: nn.Module
    conv2: nn.Module


class WhisperDecoder(WhisperStack, Protocol):
    """Whisper's decoder."""

    embed_tokens: nn.Embedding


class Whisper(Protocol):
    """Whisper's encoder and decoder."""

    config: Config
    encoder: WhisperEncoder
    decoder: WhisperDecoder
