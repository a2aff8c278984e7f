"""Whisper's language posteriors, and states of its decoder and encoder, as one vector (``whisper_language``).

Shapes: b batch, w windows of all utterances, t time, m mel bands, d features, k languages of Whisper's,
v words of its vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.languages import code
from lid_toolkit.models.arguments import NotNegativeFloat
from lid_toolkit.models.bases import AnswerFrontend
from lid_toolkit.models.frontends.pretrained.adapt import add_lora, without_adapters
from lid_toolkit.models.frontends.pretrained.families import make_inputs
from lid_toolkit.models.frontends.pretrained.inputs import RATE
from lid_toolkit.models.frontends.pretrained.load import WHERE, choose_architecture, make_encoder
from lid_toolkit.models.frontends.pretrained.lora import Lora
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
DEFAULT_SILENCE = (0.5, 3.0)
WINDOWS_AT_ONCE = 8
"""Windows that are computed together; this limits the memory."""

ADAPTED = tuple(f"encoder_attn.{name}_proj" for name in ("q", "k", "v", "out"))
"""The decoder's attention to the encoder's output."""
SUMMARY = 2
"""Frames before the encoder's output in stored states: the decoder's state without adapters, and the mean."""

Vector = Literal["mean", "state"]


class WhisperLanguageFrontend(AnswerFrontend):
    """Whisper's language posteriors, and what is needed to correct them (``whisper_language``), frozen.

    One frame per utterance, (log p(k_1 | x), ..., log p(k_K | x), v): the log posteriors of ``languages``
    from the decoder after its start-of-transcript token (Radford et al., ICML 2023, section 2.3), and one or
    two vectors of D numbers: the mean of the encoder's output over the utterance, and the decoder's state
    from which the posteriors are computed. A linear classifier with weight decay on these features corrects
    Whisper's prediction, even if trained on few speakers. The features of an utterance are the same in every
    batch. Utterances of less than 20 ms are padded with zeros.

    With ``lora``, the decoder is trained, too: low-rank maps are added to those of its attention to the
    encoder's output, which stays frozen. After the log posteriors of the original decoder come as many
    numbers, by which those of the adapted decoder differ; ``state`` is that of the adapted decoder.

    Attributes:
        added_samples: number of samples of silence that it adds to each utterance.
        corrects_posteriors: whether there are adapters.

    Args:
        path_or_url: folder, or name on the Hugging Face Hub.
        languages: labels of the languages to choose among, as in the data; null for all languages that
            Whisper knows, as ISO 639-3 codes.
        vectors: what follows the posteriors: ``mean``, the mean of the encoder's output, and ``state``, the
            decoder's state at the start-of-transcript token divided by the square root of D, which makes its
            numbers about as large as those of the mean, in this order.
        silence: seconds of silence before and after the utterance, as in Whisper's training data; not
            included in the mean. null for 0.5 and 3, or for none with ``whole_windows``.
        lora: adapters of the decoder: ``rank``, ``alpha``, ``dropout``, ``target_modules``; not with
            ``whole_windows``.
        whole_windows: identify as Whisper's own code does, in windows of 30 s, the last of them filled with
            silence. The posteriors of an utterance are then the mean of its windows' log posteriors, weighted
            by their seconds and normalised. It takes as long as 30 s, so by default an utterance is shorter.
        download_dir: directory for downloads; null for Hugging Face's cache.
        architecture: Whisper's configuration, without its weights; model files contain it.
    """

    upstream: Upstream
    tokens_kd: Tensor

    def __init__(
        self,
        path_or_url: str,
        languages: Annotated[list[str], Field(min_length=2)] | None = None,
        silence: tuple[NotNegativeFloat, NotNegativeFloat] | None = None,
        whole_windows: bool = False,
        download_dir: str | None = None,
        architecture: dict[str, object] | None = None,
        vectors: Annotated[list[Vector], Field(min_length=1)] | None = None,
        lora: Lora | None = None,
    ) -> None:
        super().__init__()
        check_together(whole_windows, silence, lora)
        source = path_or_url if architecture is None else None
        self.architecture = choose_architecture(architecture, path_or_url, download_dir)
        kind = self.architecture["config"]["model_type"]
        if kind != "whisper":
            raise LidError(
                f"an encoder of type '{kind}' is not Whisper", where=WHERE, mend="name a Whisper model"
            )
        every_layer = {"decoder_layerdrop": 0.0}
        self.upstream = make_encoder(self.architecture, every_layer, "auto", source, download_dir)
        words_vd = self.upstream.decoder.embed_tokens.weight.detach()
        self.languages = known_languages(len(words_vd)) if languages is None else languages
        self.register_buffer("tokens_kd", language_tokens(words_vd, languages))
        keep_start_token(self.upstream)
        self.upstream.requires_grad_(False)
        self.inputs, self.hop_length = make_inputs(self.upstream.config, "none", whole_windows)
        self.whole_windows = whole_windows
        seconds = (0.0, 0.0) if whole_windows else silence or DEFAULT_SILENCE
        self.before, self.after = (round(RATE * part / self.hop_length) for part in seconds)
        self.added_samples = (self.before + self.after) * self.hop_length
        self.rate = RATE
        self.vectors = [name for name in ("mean", "state") if name in (vectors or ["mean"])]
        self.corrects_posteriors = self.stores_frames = lora is not None
        if lora is not None:
            add_lora(self.upstream.decoder, lora, ADAPTED)
        numbers = len(self.tokens_kd) * (1 + self.corrects_posteriors)
        self.output_size = numbers + len(self.vectors) * int(self.upstream.config.hidden_size)

    @property
    def posteriors_of(self) -> Sequence[str]:
        """The languages in the configuration, or all that Whisper knows."""
        return self.languages

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments with Whisper's configuration instead of its weights, and the languages."""
        return {**conf, "architecture": self.architecture, "languages": list(self.languages)}

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`; with adapters, those of Whisper's hidden states."""
        return int(self.upstream.config.hidden_size) if self.stores_frames else self.output_size

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 1, ``output_size``) and ones (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end; or the result of :meth:`frozen_states`.
            lengths_b: number of valid samples (or frames) of each, on the CPU.
        """
        states_btd, frames_b = super().forward(wave_bt, lengths_b)
        if not self.stores_frames:
            return states_btd, frames_b
        return self._adapted(states_btd, frames_b), torch.ones_like(frames_b)

    @torch.no_grad()
    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return what training does not change (B, frames, ``states_size``), and the frame counts (B,).

        With adapters, these are the state of the original decoder, the mean of the encoder's output over the
        utterance, and the encoder's output with the silence. Without, they are the features.
        """
        if not self.stores_frames:
            return super().frozen_states(wave_bt, lengths_b)
        self.upstream.eval()
        heard_btd, frames_b, mean_b1d = self._heard(wave_bt, lengths_b)
        with without_adapters(self.upstream.decoder):
            state_b1d = start_token_states(self.upstream, heard_btd, frames_b)[-1]
        return torch.cat((state_b1d, mean_b1d, heard_btd), dim=1), frames_b + SUMMARY

    def answers(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return features (B, 1, ``output_size``) of a decoder without adapters."""
        self.upstream.eval()
        if self.whole_windows:
            return self._of_windows(wave_bt, lengths_b)
        heard_btd, frames_b, mean_b1d = self._heard(wave_bt, lengths_b)
        answer_b1d = start_token_states(self.upstream, heard_btd, frames_b)[-1]
        return self._joined(self._posteriors(answer_b1d), mean_b1d, answer_b1d)

    def _heard(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the encoder's output (B, T, D), its valid frames (B,), and its mean over the utterances."""
        inputs, mel_frames_b = self.inputs(*self._within_silence(wave_bt, lengths_b))
        states, frames_b = whisper_states(self.upstream.encoder, inputs, mel_frames_b, lambda *_: None)
        speech_bdt = states[-1][:, self.before :].transpose(1, 2)
        spoken_b = (lengths_b // self.hop_length).clamp(min=1)
        mask_b1t = padding_mask(spoken_b, speech_bdt.shape[2], speech_bdt.device)
        return states[-1], frames_b, masked_mean(speech_bdt, mask_b1t).transpose(1, 2)

    def initial_features(self, states_btd: Tensor) -> Tensor:
        """Return the features (B, 1, ``output_size``) before training, from :meth:`frozen_states`."""
        state_b1d, mean_b1d, _ = states_btd.tensor_split([1, SUMMARY], dim=1)
        before_b1k = self._posteriors(state_b1d)
        return self._joined(torch.cat((before_b1k, torch.zeros_like(before_b1k)), dim=2), mean_b1d, state_b1d)

    def _adapted(self, states_btd: Tensor, frames_b: Tensor) -> Tensor:
        """Return the features (B, 1, ``output_size``) of the adapted decoder, from :meth:`frozen_states`."""
        state_b1d, mean_b1d, heard_btd = states_btd.tensor_split([1, SUMMARY], dim=1)
        self.upstream.decoder.train(self.training)
        adapted_b1d = start_token_states(self.upstream, heard_btd, frames_b - SUMMARY)[-1]
        before_b1k = self._posteriors(state_b1d)
        correction_b1k = self._posteriors(adapted_b1d) - before_b1k
        return self._joined(torch.cat((before_b1k, correction_b1k), dim=2), mean_b1d, adapted_b1d)

    def _joined(self, scores_b1k: Tensor, mean_b1d: Tensor, state_b1d: Tensor) -> Tensor:
        """Return the features (B, 1, ``output_size``)."""
        vectors = {"mean": mean_b1d, "state": state_b1d / state_b1d.shape[2] ** 0.5}
        return torch.cat((scores_b1k, *(vectors[name].float() for name in self.vectors)), dim=2)

    def _posteriors(self, answer_b1d: Tensor) -> Tensor:
        with torch.autocast(answer_b1d.device.type, enabled=False):
            return F.linear(answer_b1d.float(), self.tokens_kd).log_softmax(dim=2)

    def _of_windows(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return features: of each window alone, then of all windows of an utterance together."""
        mel_bmt, mel_frames_b = self.inputs(wave_bt, lengths_b)
        device, positions = mel_bmt.device, self.upstream.config.max_source_positions
        window = positions * self.hop_length
        mel_wmt = torch.cat(
            [
                mel_mt[:, :frames].unflatten(1, (-1, 2 * positions)).transpose(0, 1)
                for mel_mt, frames in zip(mel_bmt, mel_frames_b.tolist(), strict=True)
            ]
        )
        windows_b = mel_frames_b // (2 * positions)
        owner_w = torch.arange(len(lengths_b)).repeat_interleave(windows_b)
        place_w = torch.cat([torch.arange(count) for count in windows_b.tolist()])
        samples_w = (lengths_b[owner_w] - place_w * window).clamp(min=self.hop_length, max=window)
        scores_b1k = torch.zeros(len(lengths_b), 1, len(self.tokens_kd), device=device)
        mean_b1d = torch.zeros(len(lengths_b), 1, self.upstream.config.hidden_size, device=device)
        state_b1d = torch.zeros_like(mean_b1d)
        total_b = torch.zeros(len(lengths_b), dtype=torch.int64).index_add(0, owner_w, samples_w)
        share_w11 = (samples_w / total_b[owner_w]).to(device)[:, None, None]
        for begin in range(0, len(mel_wmt), WINDOWS_AT_ONCE):
            rows = slice(begin, begin + WINDOWS_AT_ONCE)
            full = torch.full((len(mel_wmt[rows]),), 2 * positions)
            states, frames = whisper_states(self.upstream.encoder, mel_wmt[rows], full, lambda *_: None)
            heard_wdt = states[-1].float().transpose(1, 2)
            answer_w1d = start_token_states(self.upstream, states[-1], frames)[-1]
            spoken_w1t = padding_mask(samples_w[rows] // self.hop_length, positions, device)
            mean_w1d = masked_mean(heard_wdt, spoken_w1t).transpose(1, 2)
            owners = owner_w[rows].to(device)
            scores_b1k.index_add_(0, owners, share_w11[rows] * self._posteriors(answer_w1d))
            mean_b1d.index_add_(0, owners, share_w11[rows] * mean_w1d)
            state_b1d.index_add_(0, owners, share_w11[rows] * answer_w1d.float())
        return self._joined(scores_b1k.log_softmax(dim=2), mean_b1d, state_b1d)

    def _within_silence(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Put zeros before and after each utterance; its padding may have any value."""
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        before, after = self.before * self.hop_length, self.after * self.hop_length
        padded_bt = F.pad(zero_padding(wave_bt[:, None], mask_b1t)[:, 0], (before, self.hop_length + after))
        return padded_bt, lengths_b.clamp(min=self.hop_length) + before + after


def check_together(whole_windows: bool, silence: Sequence[float] | None, lora: Lora | None) -> None:
    """Raise LidError for arguments of the front end that exclude each other."""
    if whole_windows and silence:
        what = "silence has no effect with whole_windows, which are filled with silence"
        raise LidError(what, where="frontend_conf.silence", mend="leave one of them out")
    if whole_windows and lora is not None:
        what = "lora is not supported with whole_windows"
        raise LidError(what, where="frontend_conf.lora", mend="leave one of them out")
    if lora is not None and not lora.frozen:
        what = "frozen: false is not supported: the answers of the original decoder are needed, too"
        raise LidError(what, where="frontend_conf.lora.frozen", mend="leave it out")


def known_languages(words: int) -> list[str]:
    """Return the ISO 639-3 codes of the languages that Whisper knows, in the order of its language tokens.

    Args:
        words: size of its vocabulary. Versions with one more word know one more language.

    Raises:
        LidError: the vocabulary is that of a model for English only.
    """
    from transformers.models.whisper.tokenization_whisper import LANGUAGES as NAMES

    if words < MULTILINGUAL_VOCABULARY:
        raise LidError("this Whisper model is for English only", where=WHERE, mend="name a multilingual one")
    return [code(short) for short in list(NAMES)[: LANGUAGES + words - MULTILINGUAL_VOCABULARY]]


def language_tokens(words_vd: Tensor, labels: Sequence[str] | None) -> Tensor:
    """Return the embeddings (K, D) of the tokens of languages; None for all that Whisper knows.

    Args:
        words_vd: the embeddings of its vocabulary.
        labels: any labels of the languages.

    Raises:
        LidError: the model is for English only, or a label is not a language, is not known to Whisper, or is
            listed twice.
    """
    known = {label: row for row, label in enumerate(known_languages(len(words_vd)))}
    where = "frontend_conf.languages"
    rows: list[int] = []
    for label in known if labels is None else labels:
        row = known.get(code(label))
        if row is None:
            raise LidError(f"Whisper does not know '{label}'", where=where, mend=nearest(label, known))
        if row in rows:
            raise LidError(f"'{label}' is listed twice", where=where, mend="list each language once")
        rows.append(row)
    return words_vd[[FIRST_LANGUAGE + row for row in rows]].clone()
