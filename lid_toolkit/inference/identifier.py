"""Use a trained model in Python: identify languages and extract embeddings.

Shapes: b utterances, c languages, d embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.inference.backend import BackendName, Origin, checked_embeddings
from lid_toolkit.inference.decision import Decider, decider
from lid_toolkit.inference.lazy_model import LazyModel
from lid_toolkit.inference.listening import Abstains, Listener, shared_detector
from lid_toolkit.inference.lookahead import Heard, LookAhead
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.records import embedding_of, record_of
from lid_toolkit.inference.segmentation import Segmenting, segmenting_windows
from lid_toolkit.inference.speech import KINDS, Floats, Speech, at_least_one, is_supported, valid_rate
from lid_toolkit.inference.stream import LanguageStream, Tracking
from lid_toolkit.inference.windows import Windowing
from lid_toolkit.training.config import DType

if TYPE_CHECKING:
    import torch

__all__ = ["LanguageIdentifier", "Prediction"]

FEW = 4
"""Languages that ``repr`` names."""


class LanguageIdentifier(LazyModel):
    """Identify the language of speech.

    Threads can share an identifier. A pickled one contains only the arguments of :meth:`from_pretrained`; a
    copy in another process loads the model when it is first used.

    >>> lid = LanguageIdentifier.from_pretrained("exp/mini/lid_mini_ecapa_raw")  # doctest: +SKIP
    >>> lid.identify("a.wav").language  # doctest: +SKIP
    'fin'
    """

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str | torch.device = "auto",
        revision: str | None = None,
        external: Iterable[str] = (),
        threads: int | None = None,
        dtype: DType = "float32",
        policy: DecisionPolicy | None = None,
        torch_compile: bool = False,
        backend: BackendName = "auto",
    ) -> LanguageIdentifier:
        """Load a model.

        Args:
            source: an experiment directory (its best model is loaded), a model file, a packed model (the
                zip or its unpacked folder), a model of another toolkit (``transformers``, ESPnet,
                SpeechBrain, NeMo, ONNX), or ``user/repo`` with one of these on the Hugging Face Hub.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …, ``mps``, or a ``torch.device``.
            revision: branch, tag or commit of the repository.
            external: installed packages that the model's own components may be imported from; name only
                packages that you trust, since importing one runs its code.
            threads: number of threads that PyTorch computes with, in the whole program; None leaves it as it
                is. Answers do not depend on it beyond rounding.
            dtype: number format: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for bfloat16 on a device
                with instructions for it. 16 bits are faster there, and change few answers.
            policy: when to answer; None for the policy that the model was packed with, else the default.
            torch_compile: compile the model with ``torch.compile`` at the first batch. That takes minutes and
                needs a C++ compiler, so it is for many recordings on a GPU. Answers agree up to rounding.
            backend: what computes: ``torch``, or ``onnx`` for a file of ``lid export``, or for a directory
                that has one as ``model.onnx``; ``auto`` for ``onnx`` if ``source`` is such a file.

        Raises:
            LidError: the model does not exist, is not a model, or is not safe to load, the device or the
                number format is not supported, ``threads`` is below 1, or what computes is not installed.
        """
        place = str(Path(source).absolute()) if Path(source).exists() else str(source)
        how = (revision, tuple(external), threads, dtype, policy, torch_compile, backend)
        lid = cls(Origin(place, str(device), *how))
        lid.load()
        return lid

    def __repr__(self) -> str:
        labels = ", ".join((*self.languages[:FEW], *(["…"] if len(self.languages) > FEW else [])))
        model = f"{self.origin.source!r}, {len(self.languages)} languages ({labels})"
        return f"<LanguageIdentifier: {model}, arrays at {self.rate} Hz, on {self.device}>"

    def __enter__(self) -> LanguageIdentifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels in index order."""
        return self.load().languages

    @property
    def rate(self) -> int:
        """Samples per second of the model, and of arrays that come without a rate."""
        return self.load().rate

    @property
    def device(self) -> torch.device | str:
        """Where the model computes: a device of PyTorch, or its name in onnxruntime."""
        return self.load().device  # type: ignore[no-any-return]

    @property
    def policy(self) -> DecisionPolicy:
        """The policy of answers unless another one is given."""
        return self.load().policy

    @overload
    def identify(  # type: ignore[overload-overlap]  # a string is one input, although it can be iterated over
        self,
        speech: Speech,
        batch_size: int = ...,
        languages: Iterable[str] | None = ...,
        top_k: int | None = ...,
        sample_rate: float | None = ...,
        *,
        policy: DecisionPolicy | None = ...,
        window: float | None = ...,
        hop: float | None = ...,
        vad: str = ...,
        segments: bool | Segmenting = ...,
    ) -> Prediction: ...

    @overload
    def identify(  # type: ignore[overload-overlap]  # a list is read at once
        self,
        speech: list[Speech],
        batch_size: int = ...,
        languages: Iterable[str] | None = ...,
        top_k: int | None = ...,
        sample_rate: float | None = ...,
        *,
        policy: DecisionPolicy | None = ...,
        window: float | None = ...,
        hop: float | None = ...,
        vad: str = ...,
        segments: bool | Segmenting = ...,
    ) -> list[Prediction]: ...

    @overload
    def identify(
        self,
        speech: Iterable[Speech],
        batch_size: int = ...,
        languages: Iterable[str] | None = ...,
        top_k: int | None = ...,
        sample_rate: float | None = ...,
        *,
        policy: DecisionPolicy | None = ...,
        window: float | None = ...,
        hop: float | None = ...,
        vad: str = ...,
        segments: bool | Segmenting = ...,
    ) -> Iterator[Prediction]: ...

    def identify(
        self,
        speech: Speech | Iterable[Speech],
        batch_size: int = 16,
        languages: Iterable[str] | None = None,
        top_k: int | None = None,
        sample_rate: float | None = None,
        *,
        policy: DecisionPolicy | None = None,
        window: float | None = None,
        hop: float | None = None,
        vad: str = "auto",
        segments: bool | Segmenting = False,
    ) -> Prediction | list[Prediction] | Iterator[Prediction]:
        """Identify one input, each of a list, or each of any other iterable while it is read.

        Every input gives one record, in order. One that cannot be read gives a record with the status
        ``failed`` and the reason; nothing is raised for it.

        Args:
            speech: one input (see :data:`lid_toolkit.inference.speech.Speech`), a list of them, or an
                iterable, such as a generator. Of an iterable, at most ``16 * batch_size`` inputs are read
                ahead, of which at most ``8 * batch_size``, and 20 minutes of audio, wait for the model.
            batch_size: largest number of clips computed together; answers do not depend on it.
            languages: the languages to choose from, as labels, codes or English names; instead of the
                policy's candidates.
            top_k: number of labels in ``scores``; None for all.
            sample_rate: samples per second of arrays that come without a rate; None for the model's ``rate``.
            policy: when to answer; None for the identifier's ``policy``.
            window: seconds of the windows into which recordings are cut; None: recordings of up to 10
                minutes are not cut, longer ones into windows of 30 s. See
                :mod:`lid_toolkit.inference.windows`.
            hop: seconds from the start of one window to the next; None: half a window, and a quarter of one
                for ``segments``.
            vad: detector of speech: ``silero``, ``energy``, ``none``, or ``auto`` for silero where it is
                installed, else energy.
            segments: whether to find the parts of each input by language, or how; see
                :mod:`lid_toolkit.inference.segmentation`. Then ``window`` is 5 s unless given.

        Returns:
            A record for one input, a list of records for a list, else an iterator of records.

        Raises:
            LidError: an argument is not valid: ``speech`` is not one of these, a language is unknown or may
                be several of the model's, or a number is out of its range.
        """
        at_least_one(batch_size=batch_size, top_k=1 if top_k is None else top_k)
        decides = self._decider(policy, languages)
        windowing = segmenting_windows(window, hop) if segments else Windowing(window, hop)
        listener = self._listener(sample_rate, windowing, vad, decides.abstains)
        settings = segments if isinstance(segments, Segmenting) else Segmenting() if segments else None
        records = self._records(_inputs(speech), listener, decides, batch_size, top_k, settings)
        if is_supported(speech):
            return next(records)
        return list(records) if isinstance(speech, list) else records

    def identify_batch(
        self, batch: Mapping[str, Iterable[Speech]], column: str = "audio", **options: Any
    ) -> dict[str, list[Any]]:
        """Identify rows that come by columns, as in Hugging Face data sets and Ray Data.

        Args:
            batch: the columns.
            column: the one with the inputs.
            options: further arguments of :meth:`identify`.

        Returns:
            The attributes of the records, one list each. ``scores`` has for each row a list of
            ``{"language": …, "score": …}``, so that all rows have the same type.

        Raises:
            LidError: as :meth:`identify`, or there is no such column.
        """
        if column not in batch:
            mend = nearest(column, batch)
            raise LidError(f"the batch has no column '{column}'", where="identify_batch", mend=mend)
        records = [record.as_dict() for record in self.identify(list(batch[column]), **options)]
        for record in records:
            pairs = record["scores"].items()
            record["scores"] = [{"language": label, "score": score} for label, score in pairs]
        names = [attribute.name for attribute in dataclasses.fields(Prediction)]
        return {name: [record[name] for record in records] for name in names}

    def embed(
        self, speech: Speech | Iterable[Speech], batch_size: int = 16, sample_rate: float | None = None
    ) -> Floats:
        """Return L2-normalised embeddings (B, D), float32; B is 1 for a single input.

        Recordings of more than 10 minutes are cut into windows of 30 s; their embedding is the normalised
        mean of the windows' embeddings. Arguments are those of :meth:`identify`.

        Raises:
            AudioError: an input cannot be read, is empty, has no signal or is not finite.
            LidError: ``batch_size`` is below 1, or the embedding is not finite.
        """
        at_least_one(batch_size=batch_size)
        listener = self._listener(sample_rate, Windowing(), "none", lambda *_: None)
        found = [embedding_of(heard) for heard in self._heard(_inputs(speech), listener, batch_size)]
        return np.stack(found) if found else np.zeros((0, self.load().embedding_size), np.float32)

    def classify_embedding(
        self,
        embeddings: npt.ArrayLike | torch.Tensor,
        languages: Iterable[str] | None = None,
        top_k: int | None = None,
        policy: DecisionPolicy | None = None,
    ) -> Prediction | list[Prediction]:
        """Return the records of embeddings that :meth:`embed` returned, without audio.

        Args:
            embeddings: (D,) for one record, or (B, D) for a list of records.
            languages: as in :meth:`identify`.
            top_k: as in :meth:`identify`.
            policy: as in :meth:`identify`; its limits on seconds are not used.

        Raises:
            LidError: the shape is wrong, a number is not finite, an argument is not valid, or the model's
                classifier depends on the length of embeddings, which are normalised.
        """
        at_least_one(top_k=1 if top_k is None else top_k)
        decides = self._decider(policy, languages)
        scores = self.load().classify(checked_embeddings(embeddings, self.load().embedding_size))
        records = [decides.decide(scores_c, None, top_k=top_k) for scores_c in np.atleast_2d(scores)]
        return records[0] if scores.ndim == 1 else records

    def stream(
        self,
        sample_rate: float | None = None,
        languages: Iterable[str] | None = None,
        top_k: int | None = None,
        *,
        policy: DecisionPolicy | None = None,
        vad: str = "auto",
        tracking: Tracking | None = None,
    ) -> LanguageStream:
        """Begin a recording that comes in chunks, such as from a microphone or a call.

        >>> stream = lid.stream(8000)  # doctest: +SKIP
        >>> for update in stream.follow(chunks):  # doctest: +SKIP
        ...     print(update.time, update.language)

        Args:
            sample_rate: samples per second of the chunks; None for the model's ``rate``.
            languages: as in :meth:`identify`.
            top_k: as in :meth:`identify`.
            policy: as in :meth:`identify`.
            vad: as in :meth:`identify`.
            tracking: the windows, and when the language changes; None for the defaults.

        Raises:
            LidError: an argument is not valid.
        """
        at_least_one(top_k=1 if top_k is None else top_k)
        loaded = self.load()
        return LanguageStream(
            lambda wave: loaded.compute([wave], 1)[0][0],
            self.rate,
            self.rate if sample_rate is None else valid_rate(sample_rate),
            self._decider(policy, languages),
            shared_detector(vad),
            tracking or Tracking(),
            top_k,
        )

    def _decider(self, policy: DecisionPolicy | None, languages: Iterable[str] | None) -> Decider:
        chosen = self.policy if policy is None else policy
        if languages is not None:
            chosen = dataclasses.replace(chosen, candidates=languages)  # type: ignore[arg-type]
        return decider(chosen, self.languages)

    def _listener(
        self, sample_rate: float | None, windowing: Windowing, vad: str, abstains: Abstains
    ) -> Listener:
        array_rate = self.rate if sample_rate is None else valid_rate(sample_rate)
        return Listener(self.rate, array_rate, windowing, shared_detector(vad), abstains)

    def _heard(self, items: Iterable[Speech], listener: Listener, batch_size: int) -> Iterator[Heard]:
        loaded = self.load()
        ahead = LookAhead(lambda waves: loaded.compute(waves, batch_size), self.rate, batch_size)
        return ahead.hear(items, listener)

    def _records(
        self,
        items: Iterable[Speech],
        listener: Listener,
        decides: Decider,
        batch_size: int,
        top_k: int | None,
        segmenting: Segmenting | None,
    ) -> Iterator[Prediction]:
        for heard in self._heard(items, listener, batch_size):
            yield record_of(heard, decides, top_k, segmenting)


def _inputs(speech: Speech | Iterable[Speech]) -> Iterable[Speech]:
    """Return one input or several as several."""
    if is_supported(speech):
        return [speech]  # type: ignore[list-item]
    if not isinstance(speech, Iterable) or isinstance(speech, tuple | Mapping):
        raise LidError(f"{type(speech).__name__} is not supported", where="speech", mend=KINDS)
    return speech  # type: ignore[return-value]
