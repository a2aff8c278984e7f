"""The probability of speech from silero-vad (https://github.com/snakers4/silero-vad, MIT licence).

Its package contains the network as an ONNX file, which onnxruntime computes. The package's own code is not
imported, because it loads torch and sets the number of its threads. The file takes a sequence of frames and
the state of its LSTM; it gives the same probabilities as the file that takes one frame at a time.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lid_toolkit.errors import LidError

FILE = "data/silero_vad_16k_sequence.onnx"
CONTEXT = 64
"""Samples of the previous frame that precede each frame of 512 samples."""

LSTM_STATE = (1, 1, 128)
MOST_FRAMES = 512
"""Frames of one call, 16 s: memory does not grow with the recording."""

INSTALL = "install silero-vad 6.2.1 or later and onnxruntime: pip install 'lid_toolkit[vad]'"


def model_file() -> Path | None:
    """Return the ONNX file of the installed silero-vad; None if there is none."""
    package = importlib.util.find_spec("silero_vad")
    places = (package.submodule_search_locations if package else None) or []
    files = [Path(place) / FILE for place in places]
    return next((file for file in files if file.is_file()), None)


def is_installed() -> bool:
    """Return whether speech can be found with silero-vad."""
    return model_file() is not None and importlib.util.find_spec("onnxruntime") is not None


class SileroModel:
    """The network. Threads can share it; a pickled copy loads it again.

    Raises:
        LidError: silero-vad or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        if not is_installed():
            raise LidError("the speech detector silero is not installed", mend=INSTALL)

    def begin(self) -> SileroScorer:
        """Return the scorer of a new recording."""
        return SileroScorer(self._session.run)

    def __reduce__(self) -> tuple[type[SileroModel], tuple[()]]:
        return type(self), ()

    @functools.cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(model_file()), options, providers=["CPUExecutionProvider"])


class SileroScorer:
    """The probabilities of one recording.

    Args:
        run: computes the network: ``onnxruntime.InferenceSession.run``, which several threads may call.
    """

    def __init__(self, run: Callable[[list[str], dict[str, NDArray[np.float32]]], Any]) -> None:
        self._run = run
        self._hidden, self._cell = np.zeros((2, *LSTM_STATE), np.float32)
        self._context = np.zeros(CONTEXT, np.float32)

    def score(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames, (frames, 512) at 16 kHz; return the probability of each, (frames,)."""
        starts = range(0, len(frames_tn), MOST_FRAMES)
        return np.concatenate([self._block(frames_tn[start : start + MOST_FRAMES]) for start in starts])

    def finish(self) -> NDArray[np.float32]:
        """Return nothing: no frame waits for later ones."""
        return np.empty(0, np.float32)

    def _block(self, frames_tn: NDArray[np.float32]) -> NDArray[np.float32]:
        contexts_tn = np.concatenate([self._context[None], frames_tn[:-1, -CONTEXT:]])
        self._context = frames_tn[-1, -CONTEXT:]
        inputs = {
            "input": np.concatenate([contexts_tn, frames_tn], axis=1),
            "h": self._hidden,
            "c": self._cell,
        }
        probabilities_t, self._hidden, self._cell = self._run(["speech_probs", "hn", "cn"], inputs)
        return np.asarray(probabilities_t, np.float32).reshape(-1)
