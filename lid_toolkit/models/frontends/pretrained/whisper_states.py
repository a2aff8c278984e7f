"""Whisper's hidden states over the utterances' own lengths instead of 30 s of padding.

``whisper_states`` and ``language_states`` have the type ``RunEncoder`` of ``hidden_states``.
``start_token_states`` returns no frame counts, since its states have one frame each.

Shapes: b batch, w windows of 30 s, t time, m mel bands, d or c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lid_toolkit.models.frontends.pretrained.hidden_states import DrawSpans, States, first_of
from lid_toolkit.models.frontends.pretrained.upstream_types import Whisper, WhisperEncoder, WhisperStack
from lid_toolkit.models.masking import padding_mask, zero_padding

MULTILINGUAL_VOCABULARY, START_OF_TRANSCRIPT = 51865, 50258


def whisper_states(
    encoder: WhisperEncoder, mel_bmt: Tensor, lengths_b: Tensor, draw_spans: DrawSpans
) -> States:
    """Run Whisper's encoder over the utterances' own lengths instead of 30 s of padding.

    As in Whisper, utterances longer than 30 s are cut into windows of 30 s. The states of the windows are
    joined.
    """
    hidden_bt = draw_spans(lengths_b, mel_bmt.shape[2])
    if hidden_bt is not None:
        mel_bmt = mel_bmt.masked_fill(hidden_bt[:, None], 0.0)
    window = 2 * encoder.max_source_positions
    windows = -(-mel_bmt.shape[2] // window)
    if windows == 1:
        return _whisper_window(encoder, mel_bmt, lengths_b), (lengths_b + 1) // 2
    batch, bands, frames = mel_bmt.shape
    mel_bmt = F.pad(mel_bmt, (0, windows * window - frames))
    mel_wmt = mel_bmt.view(batch, bands, windows, window).transpose(1, 2).reshape(-1, bands, window)
    lengths_bw = (lengths_b[:, None] - window * torch.arange(windows)).clamp(0, window)
    filled_w = lengths_bw.flatten() > 0
    places = filled_w.nonzero()[:, 0].to(mel_wmt.device, non_blocking=True)
    states = _whisper_window(encoder, mel_wmt[places], lengths_bw.flatten()[filled_w])
    joined = []
    for state_wtd in states:
        whole_wtd = state_wtd.new_zeros(batch * windows, *state_wtd.shape[1:])
        whole_wtd[places] = state_wtd
        joined.append(whole_wtd.view(batch, -1, whole_wtd.shape[2])[:, : (frames + 1) // 2])
    return joined, (lengths_b + 1) // 2


def _whisper_window(encoder: WhisperEncoder, mel_bmt: Tensor, lengths_b: Tensor) -> list[Tensor]:
    from transformers.masking_utils import create_bidirectional_mask

    mask_b1t = padding_mask(lengths_b, mel_bmt.shape[2], mel_bmt.device)
    x_bct = zero_padding(F.gelu(encoder.conv1(mel_bmt)), mask_b1t)
    x_btd = F.gelu(encoder.conv2(x_bct)).transpose(1, 2)
    x_btd = x_btd + encoder.embed_positions.weight[: x_btd.shape[1]]
    x_btd = F.dropout(x_btd, p=encoder.dropout, training=encoder.training)
    mask_b1t = padding_mask((lengths_b + 1) // 2, x_btd.shape[1], x_btd.device)
    attended = create_bidirectional_mask(
        config=encoder.config,
        inputs_embeds=x_btd,
        attention_mask=None if mask_b1t is None else mask_b1t[:, 0],
    )
    states = [x_btd]
    for layer in encoder.layers:
        states.append(states[-1] if _drops(encoder) else first_of(layer(states[-1], attended)))
    if len(encoder.layers) == encoder.config.encoder_layers:
        states[-1] = encoder.layer_norm(states[-1])
    return states


def _drops(stack: WhisperStack) -> bool:
    """Draw whether to skip a layer; never if all processes must gather each layer (FSDP)."""
    from transformers.integrations.fsdp import is_fsdp_managed_module

    drawn = stack.training and stack.layerdrop > float(torch.rand(()))
    return drawn and not is_fsdp_managed_module(stack)


def keep_start_token(model: Whisper) -> None:
    """Reduce the decoder's vocabulary to the start-of-transcript token, the only one that is used."""
    decoder, start = model.decoder, model.config.decoder_start_token_id
    if len(decoder.embed_tokens.weight) >= MULTILINGUAL_VOCABULARY:  # not by config.json, which may be wrong
        start = START_OF_TRANSCRIPT
    kept_1d = decoder.embed_tokens.weight.detach()[start : start + 1].clone()
    decoder.embed_tokens = nn.Embedding(1, kept_1d.shape[1], _weight=kept_1d)


def language_states(model: Whisper, mel_bmt: Tensor, lengths_b: Tensor, draw_spans: DrawSpans) -> States:
    """Run Whisper's encoder, then its decoder on the start-of-transcript token only.

    The states have one frame per utterance, (B, 1, D). :func:`keep_start_token` must be called first.
    """
    encoded, frames_b = whisper_states(model.encoder, mel_bmt, lengths_b, draw_spans)
    return start_token_states(model, encoded[-1], frames_b), torch.ones_like(lengths_b)


def start_token_states(model: Whisper, heard_btd: Tensor, frames_b: Tensor) -> list[Tensor]:
    """Return the decoder's states (B, 1, D) at the start-of-transcript token, from the encoder's output.

    Whisper predicts the language from the last one (Radford et al., 2023, section 2.3). State 0 is the
    embedded token. :func:`keep_start_token` must be called first.
    """
    from transformers.masking_utils import create_bidirectional_mask

    decoder = model.decoder
    x_b1d = (decoder.embed_tokens.weight + decoder.embed_positions.weight[0]).expand(len(heard_btd), 1, -1)
    x_b1d = F.dropout(x_b1d, p=decoder.dropout, training=decoder.training)
    mask_b1t = padding_mask(frames_b, heard_btd.shape[1], heard_btd.device)
    attended = create_bidirectional_mask(
        config=model.config,
        inputs_embeds=x_b1d,
        attention_mask=None if mask_b1t is None else mask_b1t[:, 0],
        encoder_hidden_states=heard_btd,
    )
    states = [x_b1d]
    for layer in decoder.layers:
        if _drops(decoder):
            states.append(states[-1])
            continue
        made = layer(
            states[-1], encoder_hidden_states=heard_btd, encoder_attention_mask=attended, use_cache=False
        )
        states.append(first_of(made))
    if len(decoder.layers) == model.config.decoder_layers:
        states[-1] = decoder.layer_norm(states[-1])
    return states
