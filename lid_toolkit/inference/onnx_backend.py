"""Exported models that onnxruntime computes. PyTorch is not needed.

Shapes: b utterances, t samples, c languages, d embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lid_toolkit import untrusted_onnx
from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.errors import LidError
from lid_toolkit.inference.backend import Origin, depends_on_length
from lid_toolkit.inference.hub_files import fetch, is_repository
from lid_toolkit.inference.model_files import best_model
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.policy_files import policy_beside, policy_packed
from lid_toolkit.inference.speech import Floats, at_least_one
from lid_toolkit.models.frontends.pretrained.hub import hub_fault
from lid_toolkit.package.files import exported_model, is_package, read_labels
from lid_toolkit.package.format import LANGUAGES, META, MODEL_ONNX, POLICY
from lid_toolkit.package.onnx_format import EXPORT, INPUTS, OUTPUTS, OnnxRecord
from lid_toolkit.steps import digest
from lid_toolkit.untrusted import Untrusted
from lid_toolkit.untrusted_onnx import CPU, SUFFIX, metadata_of, run_session

Kind = Literal["file", "experiment", "packed model"]
LONGEST_BATCH_S = 20
"""Seconds of padded audio in a batch. Larger batches need more memory, and are not faster on a CPU."""
CUDA = "CUDAExecutionProvider"
LONGEST_NAMES = 300


@dataclass(frozen=True)
class OnnxBackend:
    """An exported model that is ready to compute, with its policy."""

    session: Any
    record: OnnxRecord
    device: str
    policy: DecisionPolicy

    @property
    def languages(self) -> tuple[str, ...]:
        """Labels in index order."""
        return self.record.languages

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.record.rate

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.record.embedding_size

    def compute(self, waves: Sequence[Floats], batch_size: int) -> tuple[Floats, Floats]:
        """Return log posteriors (B, C) and L2-normalised embeddings (B, D) of waveforms (samples,)."""
        scores_bc = np.full((len(waves), len(self.languages)), np.nan, np.float32)
        embeddings_bd = np.full((len(waves), self.embedding_size), np.nan, np.float32)
        lengths = np.array([len(wave) for wave in waves], dtype=np.int64)
        batches = sorted_batches(lengths, LONGEST_BATCH_S * self.rate, batch_size) if len(waves) else ()
        for batch in batches:
            rows_b = batch.rows_b
            wave_bt = np.zeros((len(rows_b), int(lengths[rows_b].max())), np.float32)
            for place, row in enumerate(rows_b):
                wave_bt[place, : lengths[row]] = waves[row]
            given = dict(zip(INPUTS, (wave_bt, lengths[rows_b]), strict=True))
            found = run_session(self.session, OUTPUTS, given, "backend onnx", "give shorter recordings")
            scores_bc[rows_b], embeddings_bd[rows_b] = found
        return scores_bc, embeddings_bd

    def classify(self, embeddings: Floats) -> Floats:
        """Return the log posteriors of embeddings (D,) or (B, D), each of length 1.

        Raises:
            LidError: as ``LanguageIdentifier.classify_embedding``.
        """
        if self.record.cosines is None:
            raise depends_on_length()
        scores_bc = self.record.cosines.log_posteriors(np.atleast_2d(embeddings))
        return scores_bc.reshape(*embeddings.shape[:-1], -1)


def load_onnx(origin: Origin) -> OnnxBackend:
    """Load an exported model, also from an experiment directory, a packed model or a repository.

    Raises:
        LidError: it does not exist, is damaged or is not an exported model, or an option is not supported.
    """
    _refuse_options(origin)
    device, providers = _providers(origin.device)
    with exported(origin.source, origin.revision) as found:
        record = OnnxRecord.from_metadata(metadata_of(found.path, found.source), found.source)
        _check_holder(record, found)
        session = open_session(found.path, origin.threads, providers, found.source)
    _try_out(session, record, found.source)
    return OnnxBackend(session, record, device, origin.policy or _policy_of(record, found))


def digest_of(source: str | Path) -> str:
    """Return what changes when the exported model of a source does.

    Raises:
        LidError: as :func:`load_onnx`.
    """
    path, kind = _place(source, None)
    if path.is_dir():
        path = path / (META if kind == "packed model" else MODEL_ONNX)
    return digest(path) or str(source)


class Exported(NamedTuple):
    """An exported model on this machine.

    Attributes:
        path: its file, for as long as it is there.
        kind: what holds it: ``file`` if it is alone.
        source: what holds it: its file, an experiment directory, or a packed model.
    """

    path: Path
    kind: Kind
    source: Path


@contextlib.contextmanager
def exported(source: str | Path, revision: str | None = None) -> Iterator[Exported]:
    """Give the checked ONNX file of a source.

    Args:
        source: the file, an experiment directory or a packed model that has it as ``model.onnx``, or
            ``user/repo`` with a packed model.
        revision: branch, tag or commit of the repository.

    Raises:
        LidError: there is none, or it is not safe to open.
    """
    place, kind = _place(source, revision)
    if kind == "packed model":
        with exported_model(place) as path:
            yield Exported(path, kind, place)
        return
    file = place / MODEL_ONNX if kind == "experiment" else place
    if not file.exists() or file.suffix != SUFFIX:
        what = "is not an ONNX file, which backend onnx needs" if file.exists() else "does not exist"
        raise LidError(what, where=file, mend=EXPORT)
    with Untrusted(place).onnx(file.name) as path:
        yield Exported(path, kind, place)


def _place(source: str | Path, revision: str | None) -> tuple[Path, Kind]:
    """Return where the exported model of a source is, and what holds it."""
    if is_repository(source):
        unreachable = hub_fault()
        folder = fetch(str(source), revision, (META, LANGUAGES, POLICY, MODEL_ONNX), unreachable)
        if not (folder / META).exists():
            what = f"the repository has no {META}, so it holds no packed model"
            raise LidError(what, where=source, mend="give one that does, or use backend torch")
        return folder, "packed model"
    if revision is not None:
        what = f"revision {revision}: only repositories on the Hub have revisions"
        raise LidError(what, where=source, mend="leave it out")
    path = Path(source)
    if path.exists() and is_package(path):
        return path, "packed model"
    return path, "experiment" if path.is_dir() else "file"


def _policy_of(record: OnnxRecord, found: Exported) -> DecisionPolicy:
    """Return the policy of the packed model or the experiment, as with PyTorch; else that of the metadata."""
    if found.kind == "packed model":
        return policy_packed(found.source)
    if found.kind == "experiment" and (found.source / POLICY).is_file():
        return policy_beside(found.source, record.model)
    return DecisionPolicy.from_mapping(record.policy, found.source)


def _check_holder(record: OnnxRecord, found: Exported) -> None:
    """Raise LidError if an exported model is not that of the packed model or the experiment around it."""
    if found.kind == "packed model" and record.languages != read_labels(found.source):
        what = f"{MODEL_ONNX} has other languages than the packed model"
        raise LidError(what, where=found.source, mend="pack it again with an export of this model")
    if found.kind == "experiment":
        best = best_model(found.source)
        if best.exists() and record.model not in (None, digest(best)):
            what = f"{MODEL_ONNX} was exported from another model than {best.name}"
            raise LidError(what, where=found.source, mend=EXPORT)


def _try_out(session: Any, record: OnnxRecord, where: Path) -> None:
    """Raise LidError unless a model gives finite scores and embeddings of the right sizes for noise."""
    noise_t = 0.1 * np.random.default_rng(0).standard_normal(max(record.rate // 4, 1)).astype(np.float32)
    given = dict(zip(INPUTS, (noise_t[None], np.array([len(noise_t)])), strict=True))
    scores_bc, embeddings_bd = run_session(session, OUTPUTS, given, where, EXPORT)
    shapes = (np.shape(scores_bc), np.shape(embeddings_bd))
    if shapes != ((1, len(record.languages)), (1, record.embedding_size)):
        what = f"gives scores and embeddings of shapes {shapes[0]} and {shapes[1]}, not those of its metadata"
        raise LidError(what, where=where, mend=EXPORT)
    if not (np.isfinite(scores_bc).all() and np.isfinite(embeddings_bd).all()):
        raise LidError("its scores for noise are not finite", where=where, mend=EXPORT)


def open_session(
    path: Path, threads: int | None = None, providers: Sequence[Any] = (CPU,), where: Path | None = None
) -> Any:
    """Return onnxruntime's session of a file of ``lid export``.

    Args:
        path: the file.
        threads: number of threads; None for one for each core.
        providers: what computes, in onnxruntime's names.
        where: the model in error messages; None for the file.

    Raises:
        LidError: the file is damaged or has other inputs or outputs, or ``threads`` is below 1.
    """
    if threads is not None:
        at_least_one(threads=threads)
    session = untrusted_onnx.open_session(path, where or path, threads, providers, EXPORT)
    names = [tuple(item.name for item in items) for items in (session.get_inputs(), session.get_outputs())]
    if names != [INPUTS, OUTPUTS]:
        what = f"takes {', '.join(names[0])} and gives {', '.join(names[1])}"
        raise LidError(what[:LONGEST_NAMES], where=where or path, mend="give a file that lid export wrote")
    return session


def _providers(name: str) -> tuple[str, list[Any]]:
    """Return the device that a name means, and onnxruntime's providers for it."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if name == "auto":
        name = "cuda:0" if CUDA in there else "cpu"
    kind, _, number = name.partition(":")
    if name == "cpu":
        return name, [CPU]
    if kind != "cuda" or not (number or "0").isdecimal():
        raise LidError(f"'{name}' is not supported", where="device", mend="give auto, cpu, cuda or cuda:1")
    if CUDA not in there:
        mend = "pip install onnxruntime-gpu, or give cpu"
        raise LidError("the installed onnxruntime has no CUDA", where=f"device {name}", mend=mend)
    return f"cuda:{number or 0}", [(CUDA, {"device_id": number or "0"}), CPU]


def _refuse_options(origin: Origin) -> None:
    """Raise LidError for an option that an exported model does not have."""
    given = {
        "external": bool(origin.external),
        "torch_compile": origin.torch_compile,
        "dtype": origin.dtype != "float32",
    }
    for name, is_given in given.items():
        if is_given:
            mend = "export with --int8 instead" if name == "dtype" else "leave it out, or use backend torch"
            raise LidError("is not possible with backend onnx", where=name, mend=mend)
