"""What Whisper says of the clips of a set: in all layers, computed once and kept in a file, or as extracted.

Shapes: u utterances, k languages, d features of a vector, t frames; 1 a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lid_toolkit.audio.reader import read_audio
from lid_toolkit.data.features import TABLE, read_description, read_features
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_frontend
from lid_toolkit.models.frontends.pretrained.whisper_language import WhisperLanguageFrontend
from lid_toolkit.models.frontends.pretrained.whisper_states import start_token_states, whisper_states
from lid_toolkit.progress import Progress

Floats = NDArray[np.float64]
FILL = "fill"
WINDOW_S = 30.0


@dataclass(frozen=True)
class Heard:
    """What Whisper says of a set with one length of silence.

    Attributes:
        languages: labels of the columns of the posteriors.
        posteriors_uk: log posteriors of its languages.
        vectors: name -> (U, D), scaled so that the centred vectors have a mean squared length of 1.
            ``encoder L mean`` and ``encoder L deviation`` are over the frames of the clip, without the
            silence, and ``decoder L`` is the state at the start-of-transcript token. Layer 0 is the input of
            the first layer.
    """

    languages: tuple[str, ...]
    posteriors_uk: Floats
    vectors: Mapping[str, Floats]


def hear(whisper: str, data_dir: Path, silence: str, cache: Path) -> Heard:
    """Return what Whisper says of a set; it is read from ``cache`` if it was computed before.

    Args:
        whisper: name on the Hub, or a folder.
        data_dir: formatted set.
        silence: seconds before and after each clip, as ``0.5+3``; after it up to 30 s, as ``0.5+fill``.
        cache: directory.
    """
    path = cache / f"{silence}.npz"
    if not path.exists():
        arrays = compute(whisper, data_dir, silence)
        with write_whole(path, "wb") as stream:
            np.savez(stream, **arrays)
    with np.load(path) as stored:
        raw = {name: stored[name] for name in stored.files}
    languages = tuple(raw.pop("languages").tolist())
    return Heard(languages, raw.pop("posteriors"), {name: scaled(each) for name, each in raw.items()})


def extracted(data_dir: Path) -> Heard:
    """Return what stage 4 extracted of a set with ``frontend: whisper_language``: the last layers alone."""
    frontend = build_frontend(read_description(data_dir) or {})
    assert isinstance(frontend, WhisperLanguageFrontend)
    languages = tuple(frontend.posteriors_of)
    feats_ud = np.concatenate([read_features(ref) for _, ref in read_table(data_dir / TABLE)]).astype(
        np.float64
    )
    posteriors_uk, vectors_ud = np.split(feats_ud, [len(languages)], axis=1)
    config = frontend.upstream.config
    names = {"mean": f"encoder {config.encoder_layers} mean", "state": f"decoder {config.decoder_layers}"}
    parts = np.split(vectors_ud, len(frontend.vectors), axis=1)
    vectors = {names[kind]: scaled(part) for kind, part in zip(frontend.vectors, parts, strict=True)}
    return Heard(languages, posteriors_uk, vectors)


def scaled(vectors_ud: Floats) -> Floats:
    """Return vectors, divided by one number so that the centred ones have a mean squared length of 1."""
    squares = ((vectors_ud - vectors_ud.mean(axis=0)) ** 2).sum(axis=1).mean()
    divided_ud: Floats = vectors_ud / np.sqrt(max(squares, np.finfo(np.float64).tiny))
    return divided_ud


@torch.inference_mode()
def compute(whisper: str, data_dir: Path, silence: str) -> dict[str, NDArray[np.generic]]:
    """Return the languages, the log posteriors (U, K) and all vectors (U, D) of a set."""
    conf = {"frontend": "whisper_language", "frontend_conf": {"path_or_url": whisper}}
    frontend = build_frontend(conf)
    assert isinstance(frontend, WhisperLanguageFrontend)
    frontend.eval()
    rows: list[dict[str, Floats]] = []
    clips = read_table(data_dir / "wav.scp")
    with Progress(f"hear with silence {silence}", len(clips), "clip") as progress:
        for _, ref in clips:
            wave, _ = read_audio(ref)
            rows.append(hear_one(frontend, torch.from_numpy(wave)[None], silence))
            progress.advance()
    arrays: dict[str, NDArray[np.generic]] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return arrays | {"languages": np.array(frontend.languages)}


def hear_one(frontend: WhisperLanguageFrontend, wave_1t: Tensor, silence: str) -> dict[str, Floats]:
    """Return the log posteriors (K,) and all vectors (D,) of a clip."""
    hop, samples = frontend.hop_length, wave_1t.shape[1]
    before, _, after = silence.partition("+")
    first = round(float(before) * frontend.rate / hop)
    rest_s = WINDOW_S - samples / frontend.rate - float(before) if after == FILL else float(after)
    last = round(max(rest_s, 0.0) * frontend.rate / hop)
    padded_1t = F.pad(wave_1t, (first * hop, (last + 1) * hop))
    inputs, mel_frames = frontend.inputs(padded_1t, torch.tensor([samples + (first + last) * hop]))
    states, frames = whisper_states(frontend.upstream.encoder, inputs, mel_frames, lambda *_: None)
    answers = start_token_states(frontend.upstream, states[-1], frames)
    posteriors_k = F.linear(answers[-1].float(), frontend.tokens_kd).log_softmax(dim=2)[0, 0]
    found = {"posteriors": posteriors_k}
    for layer, state_1td in enumerate(states):
        spoken_td = state_1td[0, first : first + max(samples // hop, 1)].float()
        found[f"encoder {layer} mean"] = spoken_td.mean(dim=0)
        found[f"encoder {layer} deviation"] = spoken_td.std(dim=0, correction=0)
    found |= {f"decoder {layer}": state_11d[0, 0].float() for layer, state_11d in enumerate(answers) if layer}
    return {name: value.double().numpy() for name, value in found.items()}
