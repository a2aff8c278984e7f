"""Whisper's language posteriors and the mean of its encoder's output as one vector (``whisper_language``).

Shapes: b batch, t time, d features, k languages of Whisper's, v words of its vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.languages import code
from lid_toolkit.models.arguments import NotNegativeFloat
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.frontends.pretrained.families import make_inputs
from lid_toolkit.models.frontends.pretrained.inputs import RATE
from lid_toolkit.models.frontends.pretrained.load import WHERE, choose_architecture, make_encoder
from lid_toolkit.models.frontends.pretrained.upstream_types import Upstream
from lid_toolkit.models.frontends.pretrained.whisper_states import (
    MULTILINGUAL_VOCABULARY,
    START_OF_TRANSCRIPT,
    keep_start_token,
    start_token_states,
    whisper_states,
)
from lid_toolkit.models.masking import masked_mean, padding_mask, zero_padding

FIRST_LANGUAGE, LANGUAGES = START_OF_TRANSCRIPT + 1, 99


class WhisperLanguageFrontend(FrontendBase):
    """Whisper's language posteriors and the mean of its encoder's output (``whisper_language``), frozen.

    One frame per utterance, (log p(k_1 | x), ..., log p(k_K | x), m): the log posteriors of ``languages``
    from the decoder after its start-of-transcript token (Radford et al., ICML 2023, section 2.3), and the
    mean m of the encoder's output over the utterance. A linear classifier with weight decay on these
    features corrects Whisper's prediction, even if trained on few speakers. The features of an utterance are
    the same in every batch.

    Instead of waveforms, it also accepts the result of :meth:`frozen_states`.

    Attributes:
        added_samples: number of samples of silence that it adds to each utterance.

    Args:
        path_or_url: folder, or name on the Hugging Face Hub.
        languages: labels of the languages to choose among, as in the data; null for all languages that
            Whisper knows.
        silence: seconds of silence before and after the utterance, as in Whisper's training data; not
            included in the mean.
        download_dir: directory for downloads; null for Hugging Face's cache.
        architecture: Whisper's configuration, without its weights; model files contain it.
    """

    frozen = True
    upstream: Upstream
    tokens_kd: Tensor

    def __init__(
        self,
        path_or_url: str,
        languages: Annotated[list[str], Field(min_length=2)] | None = None,
        silence: tuple[NotNegativeFloat, NotNegativeFloat] = (0.5, 3.0),
        download_dir: str | None = None,
        architecture: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        source = path_or_url if architecture is None else None
        self.architecture = choose_architecture(architecture, path_or_url, download_dir)
        kind = self.architecture["config"]["model_type"]
        if kind != "whisper":
            raise LidError(
                f"an encoder of type '{kind}' is not Whisper", where=WHERE, mend="name a Whisper model"
            )
        self.upstream = make_encoder(self.architecture, {}, "auto", source, download_dir)
        words_vd = self.upstream.decoder.embed_tokens.weight.detach()
        if len(words_vd) < MULTILINGUAL_VOCABULARY:
            raise LidError(
                "this Whisper model is for English only", where=WHERE, mend="name a multilingual one"
            )
        rows = language_rows(languages, LANGUAGES + len(words_vd) - MULTILINGUAL_VOCABULARY)
        self.languages = languages
        self.register_buffer("tokens_kd", words_vd[[FIRST_LANGUAGE + row for row in rows]].clone())
        keep_start_token(self.upstream)
        self.upstream.requires_grad_(False)
        self.inputs, self.hop_length = make_inputs(self.upstream.config, wave_norm="none")
        self.before, self.after = (round(seconds * RATE / self.hop_length) for seconds in silence)
        self.added_samples = (self.before + self.after) * self.hop_length
        self.rate = RATE
        self.output_size = len(rows) + int(self.upstream.config.hidden_size)

    @property
    def posteriors_of(self) -> Sequence[str]:
        """The languages in the configuration; empty if Whisper chooses among all that it knows."""
        return self.languages or ()

    @staticmethod
    def one_frame_per_utterance(conf: Mapping[str, object]) -> bool:  # noqa: ARG004 - always
        """Return True."""
        return True

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments with Whisper's configuration instead of its pretrained weights."""
        return {**conf, "architecture": self.architecture}

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`."""
        return self.output_size

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 1, K + D) and ones (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end; or the result of :meth:`frozen_states`.
            lengths_b: number of valid samples of each, on the CPU. Less than 20 ms is padded with zeros.
        """
        if wave_bt.dim() == 3:
            return wave_bt.float(), lengths_b
        return self.frozen_states(wave_bt, lengths_b)

    @torch.no_grad()
    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 1, K + D) and ones (B,)."""
        self.upstream.eval()
        inputs, mel_frames_b = self.inputs(*self._within_silence(wave_bt, lengths_b))
        states, frames_b = whisper_states(self.upstream.encoder, inputs, mel_frames_b, lambda *_: None)
        heard_btd = states[-1]
        answer_b1d = start_token_states(self.upstream, heard_btd, frames_b)[-1]
        speech_bdt = heard_btd[:, self.before :].transpose(1, 2)
        spoken_b = (lengths_b // self.hop_length).clamp(min=1)
        mean_b1d = masked_mean(
            speech_bdt, padding_mask(spoken_b, speech_bdt.shape[2], speech_bdt.device)
        ).transpose(1, 2)
        with torch.autocast(wave_bt.device.type, enabled=False):
            posteriors_b1k = F.linear(answer_b1d.float(), self.tokens_kd).log_softmax(dim=2)
        return torch.cat((posteriors_b1k, mean_b1d), dim=2), torch.ones_like(lengths_b)

    def _within_silence(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Put zeros before and after each utterance; its padding may have any value."""
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        before, after = self.before * self.hop_length, self.after * self.hop_length
        padded_bt = F.pad(zero_padding(wave_bt[:, None], mask_b1t)[:, 0], (before, self.hop_length + after))
        return padded_bt, lengths_b.clamp(min=self.hop_length) + before + after


def language_rows(labels: Sequence[str] | None, count: int) -> list[int]:
    """Return the numbers of languages among the first ``count`` of Whisper's; None for all of these.

    Raises:
        LidError: a label is not a language, is not known to Whisper, or is listed twice.
    """
    from transformers.models.whisper.tokenization_whisper import LANGUAGES as NAMES

    known = {code(short): row for row, short in enumerate(list(NAMES)[:count])}
    where = "frontend_conf.languages"
    rows: list[int] = []
    for label in known if labels is None else labels:
        row = known.get(code(label))
        if row is None:
            raise LidError(f"Whisper does not know '{label}'", where=where, mend=nearest(label, known))
        if row in rows:
            raise LidError(f"'{label}' is listed twice", where=where, mend="list each language once")
        rows.append(row)
    return rows
