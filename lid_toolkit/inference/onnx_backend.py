"""Exported models that onnxruntime computes. PyTorch is not needed.

Shapes: b utterances, t samples, c languages, d embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lid_toolkit.data.samplers import sorted_batches
from lid_toolkit.errors import LidError
from lid_toolkit.inference.backend import ONNX_SUFFIX, Origin, depends_on_length
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.speech import Floats, at_least_one
from lid_toolkit.package.onnx_format import EXPORT, INPUTS, MODEL_ONNX, OUTPUTS, OnnxRecord
from lid_toolkit.steps import digest

LONGEST_BATCH_S = 20
"""Seconds of padded audio in a batch. Larger batches need more memory, and are not faster on a CPU."""
BEST_MODEL = "valid.*.best.pth"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


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
            scores_bc[rows_b], embeddings_bd[rows_b] = self.session.run(OUTPUTS, given)
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
    """Load an exported model.

    Raises:
        LidError: it does not exist, is damaged or is not an exported model, or an option is not supported.
    """
    _refuse_options(origin)
    source = Path(origin.source)
    path = exported_file(source)
    device, providers = _providers(origin.device)
    session = open_session(path, origin.threads, providers)
    record = OnnxRecord.from_metadata(session.get_modelmeta().custom_metadata_map, path)
    if source.is_dir():
        _check_current(record, source, path)
    policy = origin.policy or DecisionPolicy.from_mapping(record.policy, path)
    return OnnxBackend(session, record, device, policy)


def read_record(path: Path) -> OnnxRecord:
    """Return what an exported file says about itself.

    Raises:
        LidError: as :func:`load_onnx`.
    """
    session = open_session(exported_file(path))
    return OnnxRecord.from_metadata(session.get_modelmeta().custom_metadata_map, path)


def exported_file(source: Path) -> Path:
    """Return the ONNX file of a source: itself, or ``model.onnx`` in an experiment directory.

    Raises:
        LidError: there is none.
    """
    path = source / MODEL_ONNX if source.is_dir() else source
    if not path.is_file() or path.suffix != ONNX_SUFFIX:
        what = "is not an ONNX file, which backend onnx needs" if path.is_file() else "does not exist"
        raise LidError(what, where=path, mend=EXPORT)
    return path


def _check_current(record: OnnxRecord, directory: Path, path: Path) -> None:
    """Raise LidError if the best model of an experiment is not the one that was exported."""
    best = min(directory.glob(BEST_MODEL), default=None)
    if best is not None and record.model not in (None, digest(best)):
        raise LidError(f"was exported from another model than {best.name}", where=path, mend=EXPORT)


def open_session(path: Path, threads: int | None = None, providers: Sequence[Any] = (CPU,)) -> Any:
    """Return onnxruntime's session of a file.

    Args:
        path: the file.
        threads: number of threads; None for one for each core.
        providers: what computes, in onnxruntime's names.

    Raises:
        LidError: the file is damaged, or ``threads`` is below 1.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors; warnings are for those who write graphs
    # Threads that spin while they wait take the cores from everything else.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        at_least_one(threads=threads)
        settings.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=list(providers))
    except Exception as error:  # its exceptions have no common class but this
        reason = str(error).strip().partition("\n")[0]
        raise LidError(f"damaged, or not an ONNX file: {reason}", where=path, mend=EXPORT) from error
    names = [tuple(item.name for item in items) for items in (session.get_inputs(), session.get_outputs())]
    if names != [INPUTS, OUTPUTS]:
        what = f"takes {', '.join(names[0])} and gives {', '.join(names[1])}"
        raise LidError(what, where=path, mend="give a file that lid export wrote")
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
        "revision": origin.revision is not None,
        "external": bool(origin.external),
        "torch_compile": origin.torch_compile,
        "dtype": origin.dtype != "float32",
    }
    for name, is_given in given.items():
        if is_given:
            mend = "export with --int8 instead" if name == "dtype" else "leave it out, or use backend torch"
            raise LidError("is not possible with backend onnx", where=name, mend=mend)
