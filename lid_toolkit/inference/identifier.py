"""Use a trained model in Python: identify languages and extract embeddings.

Shapes: b utterances, c languages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.audio.kaldi_matrix import LARGEST
from lid_toolkit.audio.reader import HIGHEST_RATE, LOWEST_RATE, AudioError, Reading, open_audio
from lid_toolkit.audio.resample import resample
from lid_toolkit.audio.silence import require_signal_in
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.inference.compute import ReadBatch, identify_batches, plan_batches
from lid_toolkit.inference.identification import Floats
from lid_toolkit.inference.locate import open_model
from lid_toolkit.languages import SIMILAR_LABELS
from lid_toolkit.training.checkpoint import SavedModel
from lid_toolkit.training.config import DType
from lid_toolkit.training.device import named_device
from lid_toolkit.training.precision import Precision, named_precision

Array: TypeAlias = "npt.NDArray[np.generic]"
Speech: TypeAlias = "str | Path | Array | tuple[Array, float] | tuple[str | Path, float, float]"
"""A recording's path, samples, samples with their rate, or a path with start and end in seconds."""

READING = Reading(allow_streams=True)


@dataclass(frozen=True)
class Prediction:
    """The answer for one utterance.

    Attributes:
        language: the most probable label.
        score: its posterior probability, 0 to 1.
        scores: probabilities of the ``top_k`` most probable labels, in descending order.
        duration: seconds of speech.
    """

    language: str
    score: float
    scores: dict[str, float]
    duration: float


class LanguageIdentifier:
    """Identify the language of speech.

    >>> lid = LanguageIdentifier.from_pretrained("exp/mini/lid_mini_ecapa_raw")  # doctest: +SKIP
    >>> lid.identify("a.wav").language  # doctest: +SKIP
    'fin'
    """

    def __init__(self, saved: SavedModel, device: torch.device, precision: Precision) -> None:
        self._saved = saved
        self._precision = precision
        saved.model.to(device)
        self.device = device

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str | torch.device = "auto",
        revision: str | None = None,
        external: Iterable[str] = (),
        threads: int | None = None,
        dtype: DType = "float32",
    ) -> LanguageIdentifier:
        """Load a model.

        Args:
            source: an experiment directory (its best model is loaded), a model file, a packed model (the
                zip or its unpacked folder), the same of ESPnet's ``lid1``, a folder or zip of SpeechBrain,
                or ``user/repo`` on the Hugging Face Hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …, ``mps``, or a ``torch.device``.
            revision: branch, tag or commit of the repository.
            external: installed packages that the model's own components may be imported from; name only
                packages that you trust, since importing one runs its code.
            threads: number of threads that PyTorch computes with, in the whole program; None leaves it as it
                is. Answers do not depend on it beyond rounding.
            dtype: number format: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for bfloat16 on a device
                with instructions for it. 16 bits are faster there, and change few answers.

        Raises:
            LidError: the model does not exist, is not a model, or is not safe to load, the device or the
                number format is not supported, or ``threads`` is below 1.
        """
        chosen = named_device(device)
        precision = named_precision(dtype, chosen)
        if threads is not None:
            _at_least_one(threads=threads)
            torch.set_num_threads(threads)
        return cls(open_model(source, revision, tuple(external)), chosen, precision)

    def __repr__(self) -> str:
        count = len(self.languages)
        return f"<LanguageIdentifier: {count} languages, arrays at {self.rate} Hz, on {self.device}>"

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels in index order."""
        return self._saved.languages

    @property
    def rate(self) -> int:
        """Samples per second of the model, and of arrays that come without a rate."""
        return self._saved.rate

    @overload
    def identify(
        self,
        speech: Speech,
        batch_size: int = ...,
        languages: Iterable[str] | None = ...,
        top_k: int | None = ...,
        sample_rate: float | None = ...,
    ) -> Prediction: ...

    @overload
    def identify(
        self,
        speech: list[Speech],
        batch_size: int = ...,
        languages: Iterable[str] | None = ...,
        top_k: int | None = ...,
        sample_rate: float | None = ...,
    ) -> list[Prediction]: ...

    def identify(
        self,
        speech: Speech | list[Speech],
        batch_size: int = 16,
        languages: Iterable[str] | None = None,
        top_k: int | None = None,
        sample_rate: float | None = None,
    ) -> Prediction | list[Prediction]:
        """Identify one utterance, or each of a list.

        Args:
            speech: a path; an array of samples (floats in [-1, 1] or int16) of shape (samples,) or
                (samples, channels); ``(array, rate)``; ``(path, start, end)`` in seconds; or a list of these.
            batch_size: largest number of utterances computed together; answers do not depend on it.
            languages: the labels to choose from; probabilities are renormalised over them. None for all.
            top_k: number of labels in ``scores``; None for all.
            sample_rate: samples per second of arrays that come without a rate; None for the model's ``rate``.

        Raises:
            AudioError: the audio cannot be read, is empty or is not finite.
            LidError: a label is unknown, a number is below 1, or scores are not finite.
        """
        _at_least_one(batch_size=batch_size, top_k=1 if top_k is None else top_k)
        columns = self._columns(languages)
        waves = self._waves(speech if isinstance(speech, list) else [speech], sample_rate)
        scores_bc, _ = self._compute(waves, batch_size)
        chosen_bc = scores_bc[:, columns]
        probabilities_bc = np.exp(chosen_bc - np.logaddexp.reduce(chosen_bc, axis=1, keepdims=True))
        labels = [self.languages[column] for column in columns]
        answers = [
            _prediction(probabilities_c, labels, top_k, len(wave) / self.rate)
            for probabilities_c, wave in zip(probabilities_bc, waves, strict=True)
        ]
        return answers if isinstance(speech, list) else answers[0]

    def embed(
        self, speech: Speech | list[Speech], batch_size: int = 16, sample_rate: float | None = None
    ) -> Floats:
        """Return L2-normalised embeddings (B, D), float32; B is 1 for a single utterance.

        Arguments and errors are those of :meth:`identify`.
        """
        _at_least_one(batch_size=batch_size)
        waves = self._waves(speech if isinstance(speech, list) else [speech], sample_rate)
        return self._compute(waves, batch_size)[1]

    def _compute(self, waves: Sequence[Floats], batch_size: int) -> tuple[Floats, Floats]:
        lengths = np.array([len(wave) for wave in waves], dtype=np.int64)

        def padded() -> Iterator[ReadBatch]:
            for batch in plan_batches(lengths, self.rate, batch_size, self.device) if waves else ():
                wave_bt = pad_sequence(
                    [torch.from_numpy(waves[row]) for row in batch.rows_b], batch_first=True
                )
                yield batch.rows_b, wave_bt, torch.from_numpy(lengths[batch.rows_b])

        scores_bc, embeddings_bd = identify_batches(
            self._saved, self.device, self._precision, len(waves), padded()
        )
        finite_b = np.isfinite(scores_bc).all(axis=1) & np.isfinite(embeddings_bd).all(axis=1)
        if not finite_b.all():
            what = f"the model's scores of utterance {int(finite_b.argmin()) + 1} are not finite"
            raise LidError(what, where="identify", mend="use another model, or leave the utterance out")
        return scores_bc, embeddings_bd

    def _waves(self, speech: Sequence[Speech], sample_rate: float | None) -> list[Floats]:
        default = self.rate if sample_rate is None else _valid_rate(sample_rate)
        waves = []
        for number, item in enumerate(speech):
            if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], np.ndarray):
                name, (wave, channels), rate = f"array {number}", _mono(item[0]), _valid_rate(item[1])
            elif isinstance(item, np.ndarray):
                name, (wave, channels), rate = f"array {number}", _mono(item), default
            else:
                name, wave, rate, channels = _read(item)
            if not np.isfinite(wave).all():
                raise AudioError("samples are not finite", where=name, mend="leave it out")
            if (largest := float(np.abs(wave).max(initial=0.0))) > LARGEST:
                what = f"the largest sample is {largest:g}"
                raise AudioError(what, where=name, mend="scale floats to [-1, 1], or give int16")
            wave = np.ascontiguousarray(resample(wave, rate, self.rate))
            if not len(wave):
                raise AudioError("no samples", where=name, mend="leave it out")
            require_signal_in(wave, name, channels)
            waves.append(wave)
        return waves

    def _columns(self, languages: Iterable[str] | None) -> list[int]:
        if languages is None:
            return list(range(len(self.languages)))
        if isinstance(languages, str):
            raise LidError(f"'{languages}' is not a list", where="languages", mend="give a list of labels")
        wanted = list(dict.fromkeys(languages))
        for label in wanted:
            if label not in self.languages:
                mend = nearest(label, self.languages, least_similarity=SIMILAR_LABELS)
                raise LidError(f"the model does not know '{label}'", where="languages", mend=mend)
        if not wanted:
            raise LidError("the list is empty", where="languages", mend="give at least one label")
        return [self.languages.index(label) for label in wanted]


def _read(item: str | Path | tuple[str | Path, float, float]) -> tuple[str, Floats, int, int]:
    """Read a recording or a part of it; return its name, samples, rate and number of channels."""
    if not isinstance(item, str | Path) and not (isinstance(item, tuple) and len(item) == 3):
        mend = "give a path, a NumPy array, (array, rate) or (path, start, end); several in a list"
        raise AudioError(f"{type(item).__name__} is not supported", where="speech", mend=mend)
    path, start_s, end_s = item if isinstance(item, tuple) else (item, 0.0, None)
    if end_s is not None and not 0 <= start_s < end_s < np.inf:
        raise AudioError(f"no audio from {start_s} s to {end_s} s", where=path, mend="0 <= start < end")
    with open_audio(str(path), READING) as recording:  # once: what a pipe gave is gone
        info = recording.info
        stop = info.num_samples if end_s is None else round(end_s * info.rate)
        return str(path), recording.read(round(start_s * info.rate), stop), info.rate, info.channels


def _valid_rate(rate: float) -> float:
    """Return a rate in Hz that is a number in a plausible range; else raise LidError."""
    is_number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not is_number or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise LidError(f"{rate!r} is not a rate in Hz", where="sample_rate", mend="e.g. 8000")
    return float(rate)


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise LidError(f"must be at least 1, not {number}", where=name)


def _mono(samples: npt.NDArray[np.generic]) -> tuple[Floats, int]:
    """Convert floats or int16, (samples,) or (samples, channels), to float32 mono in [-1, 1].

    Also returns the number of channels.
    """
    if samples.dtype == np.int16:
        wave = samples.astype(np.float32) / np.float32(32768)
    elif np.issubdtype(samples.dtype, np.floating):
        wave = samples.astype(np.float32)
    else:
        raise LidError(f"type {samples.dtype} is not supported", where="array", mend="give floats or int16")
    if wave.ndim not in (1, 2) or (wave.ndim == 2 and wave.shape[0] < wave.shape[1]):
        what = f"shape {wave.shape} is not supported"
        raise LidError(what, where="array", mend="give (samples,) or (samples, channels)")
    return (wave, 1) if wave.ndim == 1 else (wave.mean(axis=1, dtype=np.float32), wave.shape[1])


def _prediction(
    probabilities_c: npt.NDArray[np.floating], labels: Sequence[str], top_k: int | None, duration: float
) -> Prediction:
    order = np.argsort(-probabilities_c, kind="stable")
    scores = {labels[column]: float(probabilities_c[column]) for column in order[:top_k]}
    best = labels[order[0]]
    return Prediction(best, float(probabilities_c[order[0]]), scores, duration)
