"""The front end of pretrained speech encoders (``frontend: transformers``).

wav2vec 2.0, XLS-R, MMS, HuBERT, WavLM, w2v-BERT 2.0 and Whisper's encoder, from a folder, the cache
or the Hugging Face Hub. ``transformers`` and ``peft`` are only imported when such a front end is built.
The other modules of this package: ``load`` finds and loads an encoder, ``families`` describes the kinds of
encoders, ``inputs`` turns waveforms into an encoder's inputs, ``adapt`` changes an encoder before training,
and ``hidden_states`` and ``whisper_states`` run it on padded batches.

Shapes: b batch, t time, d features, l layers (here not languages).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import Fraction, NotNegative, NotNegativeFloat, PositiveInt
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.frontends.pretrained import hidden_states, whisper_states
from lid_toolkit.models.frontends.pretrained.adapt import (
    add_lora,
    cut_layers,
    freeze_parts,
    mask_projection,
)
from lid_toolkit.models.frontends.pretrained.families import (
    FAMILIES,
    LANGUAGE_TOKEN,
    Layers,
    choose_family,
    chosen_layers,
    make_inputs,
)
from lid_toolkit.models.frontends.pretrained.hidden_states import span_mask
from lid_toolkit.models.frontends.pretrained.inputs import RATE, WaveNorm
from lid_toolkit.models.frontends.pretrained.load import Attention, choose_architecture, make_encoder
from lid_toolkit.models.frontends.pretrained.lora import Lora
from lid_toolkit.models.frontends.pretrained.upstream_types import Settings, Upstream
from lid_toolkit.models.masking import padding_mask, zero_padding


class TransformersFrontend(FrontendBase):
    """Hidden states of a pretrained encoder (``transformers``), summed with learnt weights.

    Output: the sum over the chosen layers l of softmax(w)_l * state_l, as in SUPERB (Yang et al.,
    Interspeech 2021), with 50 frames per second. Layer 0 is the input of the first transformer layer, layer
    L the encoder's output. Waveforms are normalised as in the encoder's training. Whisper runs on the
    utterance's own length, in windows of 30 s if it is longer. An utterance's features are the same in
    every batch.

    Instead of waveforms, it also accepts the result of :meth:`frozen_states`.

    Attributes:
        added_samples: number of samples of silence that it adds to each utterance.

    Args:
        path_or_url: folder, or name on the Hugging Face Hub.
        layers: ``all``, ``last``, or a list of layer numbers from 0. A single layer has no weight. Layers
            above the highest one are not computed.
        layer_norm: normalise each state over its dimensions before the sum.
        language_token: only for Whisper: use the decoder's layers at the start-of-transcript token, one
            frame per utterance. Whisper predicts the language from the last of them.
        whole_windows: only for Whisper: fill the last window of 30 s with silence, whose frames count like
            speech, as Whisper's own code and classifiers made with it do. It takes as long as 30 s.
        silence: seconds of silence to append to each utterance, as in Whisper's training data.
        frozen: do not train any part of the encoder; it stays in evaluation mode.
        freeze_extractor: do not train the convolutions before the transformer.
        freeze_steps: number of updates during which the encoder stays frozen.
        lora: train adapters instead of the encoder: ``rank``, ``alpha``, ``dropout``, ``target_modules``;
            with ``frozen: false``, train both.
        layerdrop: probability of leaving out each layer in training; null for the checkpoint's value.
        mask_time_prob: fraction of the frames (Whisper: of the log-mel frames) masked in training; null for
            the checkpoint's value.
        mask_time_length: length of a masked span; null for the checkpoint's value.
        mask_feature_prob: fraction of the dimensions that are zeroed in training, in spans; null for the
            checkpoint's value.
        mask_feature_length: length of a span of dimensions; null for the checkpoint's value.
        gradient_checkpointing: compute each layer twice in training, which saves memory.
        attention: implementation of self-attention.
        wave_norm: normalisation of the waveform: ``none``, ``unit_variance``, or ``layer_norm``, which is
            fairseq's and differs for quiet speech; null for the checkpoint's.
        repeat_last: append copies of the last frame, so that N samples give ceil(N / 320) frames as in s3prl.
        download_dir: directory for downloads; null for Hugging Face's cache.
        architecture: the encoder's configuration, without its weights; model files contain it.
    """

    upstream: Upstream
    batches_seen: Tensor

    def __init__(
        self,
        path_or_url: str,
        layers: Layers = "all",
        layer_norm: bool = False,
        language_token: bool = False,
        whole_windows: bool = False,
        silence: NotNegativeFloat = 0.0,
        frozen: bool = False,
        freeze_extractor: bool = False,
        freeze_steps: NotNegative = 0,
        lora: Lora | None = None,
        layerdrop: Fraction | None = 0.0,
        mask_time_prob: Fraction | None = 0.0,
        mask_time_length: PositiveInt | None = 10,
        mask_feature_prob: Fraction | None = 0.0,
        mask_feature_length: PositiveInt | None = 10,
        gradient_checkpointing: bool = False,
        attention: Attention = "auto",
        wave_norm: WaveNorm | None = None,
        repeat_last: bool = False,
        download_dir: str | None = None,
        architecture: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        training_only = (lora, layerdrop, mask_time_prob, mask_feature_prob, gradient_checkpointing)
        if frozen and any((*training_only, freeze_extractor, freeze_steps)):
            raise LidError(
                "frozen: true with an option that only matters in training",
                where="frontend_conf",
                mend="leave out freeze_*, lora, layerdrop, mask_* and gradient_checkpointing",
            )
        self.rate = RATE
        self.frozen, self.freeze_steps, self.layer_norm = frozen, freeze_steps, layer_norm
        self.added_samples, self.repeat_last = round(silence * RATE), repeat_last
        source = path_or_url if architecture is None else None
        self.architecture = choose_architecture(architecture, path_or_url, download_dir)
        config = self.architecture["config"]
        self.family = choose_family(config["model_type"], language_token)
        self.drops = {key: config[key] if layerdrop is None else layerdrop for key in self.family.layer_drop}
        self.time_mask = probability_and_width(config, "time", mask_time_prob, mask_time_length)
        changes = {
            **self.drops,
            "apply_spec_augment": True,
            "mask_time_prob": self.time_mask[0],
            "mask_feature_prob": 0.0,
        }
        model = make_encoder(self.architecture, changes, attention, source, download_dir)
        self.upstream = model.encoder if self.family is FAMILIES["whisper"] else model
        self.layers = chosen_layers(layers, getattr(self.upstream.config, self.family.count))
        self.output_size = int(self.upstream.config.hidden_size)
        normalizes = self.architecture["normalize_wave"]
        self.inputs, self.hop_length = make_inputs(
            self.upstream.config, wave_norm or ("unit_variance" if normalizes else "none"), whole_windows
        )
        self.weights = nn.Parameter(torch.zeros(len(self.layers))) if len(self.layers) > 1 else None
        if freeze_steps:
            self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))
        feature_mask = probability_and_width(config, "feature", mask_feature_prob, mask_feature_length)
        self._prepare(freeze_extractor, lora, feature_mask, gradient_checkpointing)

    def _prepare(
        self,
        freeze_extractor: bool,
        lora: Lora | None,
        feature_mask: tuple[float, int],
        gradient_checkpointing: bool,
    ) -> None:
        """Cut, mask, adapt and freeze the encoder as configured."""
        cut_layers(self.upstream.get_submodule(self.family.stack), self.upstream.config, max(self.layers))
        if self.family.states is hidden_states.wave_states:
            hidden_states.make_exact(self.upstream)
        elif self.family is LANGUAGE_TOKEN:
            whisper_states.keep_start_token(self.upstream)
        if feature_mask[0]:
            mask_projection(self.upstream, *feature_mask)
        if gradient_checkpointing:
            self.upstream.gradient_checkpointing_enable({"use_reentrant": False})
        if lora is not None:
            add_lora(self.upstream, lora, self.family.lora_targets)
        if self.frozen:
            self.upstream.requires_grad_(False)
        if freeze_extractor:
            freeze_parts(self.upstream, self.family.extractor)

    @staticmethod
    def one_frame_per_utterance(conf: Mapping[str, object]) -> bool:
        """Return whether only the start-of-transcript token is read."""
        return bool(conf.get("language_token"))

    def portable_conf(self, conf: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments with the encoder's configuration instead of its pretrained weights."""
        return {**conf, "architecture": self.architecture}

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`."""
        return len(self.layers) * self.output_size

    @property
    def skips_parameters(self) -> bool:
        """Whether some batches, now or later in training, leave trained parameters without a gradient."""
        waiting = self.freeze_steps and int(self.batches_seen) < self.freeze_steps
        return not self.frozen and bool(waiting or any(self.drops.values()))

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, frames, output_size) and each utterance's frame count (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end; or states (B, frames, L * D) of
                :meth:`frozen_states`.
            lengths_b: number of valid samples (or frames) of each, on the CPU. Waveforms too short for one
                frame are padded with zeros.
        """
        if wave_bt.dim() == 3:
            return self._sum(list(wave_bt.float().chunk(len(self.layers), dim=2))), lengths_b
        states, frames_b = self._states(wave_bt, lengths_b)
        # The sum first: repeating a frame of the sum is repeating that frame of every state.
        return self._continued(self._sum(states), frames_b, lengths_b)

    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen layers' states side by side (B, frames, L * D), and the frame counts (B,)."""
        states, frames_b = self._states(wave_bt, lengths_b)
        return self._continued(torch.cat(states, dim=2), frames_b, lengths_b)

    def _states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[list[Tensor], Tensor]:
        resting = self.frozen or self._waits()
        self.upstream.train(self.training and not resting)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not resting):
            if self.added_samples:
                wave_bt, lengths_b = add_silence(wave_bt, lengths_b, self.added_samples)
            inputs, lengths_b = self.inputs(wave_bt, lengths_b)
            states, frames_b = self.family.states(self.upstream, inputs, lengths_b, self._draw_spans)
        return [states[layer] for layer in self.layers], frames_b

    def _continued(self, x_btd: Tensor, frames_b: Tensor, samples_b: Tensor) -> tuple[Tensor, Tensor]:
        """Repeat each utterance's last frame, if configured; return (B, frames, D) and frame counts (B,)."""
        if not self.repeat_last:
            return x_btd, frames_b
        wanted_b = (samples_b + self.added_samples + self.hop_length - 1) // self.hop_length
        return repeat_last(x_btd, frames_b, wanted_b), wanted_b

    def _waits(self) -> bool:
        """Count a training batch; return whether it belongs to the first ``freeze_steps`` updates.

        An update of several batches is counted once: it restores the buffers after each batch but the last.
        """
        if not self.freeze_steps:
            return False
        waits = int(self.batches_seen) < self.freeze_steps
        if self.training and torch.is_grad_enabled():
            self.batches_seen += 1
        return waits

    def _draw_spans(self, lengths_b: Tensor, size: int) -> Tensor | None:
        probability, width = self.time_mask
        if not probability or not self.upstream.training:
            return None
        # If transformers gets a mask, even an empty one, it draws no mask of its own.
        return span_mask(lengths_b, size, probability, width).to(self.upstream.device, non_blocking=True)

    def _sum(self, states: list[Tensor]) -> Tensor:
        if self.layer_norm:
            states = [F.layer_norm(state_btd, state_btd.shape[-1:]) for state_btd in states]
        if self.weights is None:
            return states[0]
        return weighted_sum(states, self.weights.softmax(dim=0))


def weighted_sum(states: Sequence[Tensor], weights_l: Tensor) -> Tensor:
    """Return the sum of l-th weight times l-th state, (B, T, D), with the widest type of the states.

    One operation for each state adds to one result, so no other tensor of this size is made. One matrix
    product would need all states side by side: a copy of them all.
    """
    first, *others = weights_l.unbind()
    widest = functools.reduce(torch.promote_types, (state_btd.dtype for state_btd in states))
    total_btd = states[0].to(widest) * first
    for weight, state_btd in zip(others, states[1:], strict=True):
        total_btd.addcmul_(state_btd.to(widest), weight)
    return total_btd


def probability_and_width(
    config: Settings, axis: str, probability: float | None, width: int | None
) -> tuple[float, int]:
    """Return the fraction of an axis to mask and the width of spans; None means the checkpoint's value."""
    if probability is None:
        probability = float(config[f"mask_{axis}_prob"]) if config.get("apply_spec_augment", True) else 0.0
    return probability, int(config[f"mask_{axis}_length"]) if width is None else width


def add_silence(wave_bt: Tensor, lengths_b: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Append zeros to each utterance; its padding may have any value."""
    mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
    return F.pad(zero_padding(wave_bt[:, None], mask_b1t)[:, 0], (0, samples)), lengths_b + samples


def repeat_last(state_btd: Tensor, frames_b: Tensor, wanted_b: Tensor) -> Tensor:
    """Append copies of its last frame to each utterance, up to ``wanted_b`` frames."""
    step_t = torch.arange(int(wanted_b.max()))
    source_bt = torch.minimum(step_t, frames_b[:, None] - 1).to(state_btd.device, non_blocking=True)
    return state_btd.gather(1, source_bt[..., None].expand(-1, -1, state_btd.shape[2]))
