"""Log posteriors that an ONNX model computes (``frontend: onnx_scores``), for imported models.

Shapes: b batch, t samples, k languages, n bytes of the model.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import PositiveInt, SamplingRate
from lid_toolkit.models.bases import FrontendBase
from lid_toolkit.models.masking import continue_by_zeros, padding_mask, zero_padding

LARGEST_ARENA = 8 * 2**30
"""Bytes that onnxruntime may allocate: a model may name sizes that are nonsense."""
SHORTEST_S = 0.1
LONGEST_REASON = 160
"""Characters of an error of onnxruntime; the last ones say the most."""
INSTALL = "pip install onnxruntime"
KINDS = (["tensor(float)"], ["tensor(float)", "tensor(int64)"])
NOT_SUCH = "give a model from waveforms to scores of languages"


class OnnxScores(FrontendBase):
    """The softmax of the scores of an ONNX model, one frame of log posteriors per utterance.

    The model is a buffer of bytes, so that model files and packed models contain it; onnxruntime computes it
    on the CPU. If it has no input for lengths, utterances are computed one by one. So answers are the same in
    every batch, if the model does not read padding.

    Args:
        graph_bytes: size of the ONNX file.
        outputs: number of scores of an utterance, one for each language.
        sample_rate: samples per second.
    """

    frozen = True
    graph_n: Tensor

    def __init__(
        self, graph_bytes: PositiveInt, outputs: PositiveInt, sample_rate: SamplingRate = 16000
    ) -> None:
        super().__init__()
        self.register_buffer("graph_n", torch.zeros(graph_bytes, dtype=torch.uint8))
        self.rate, self.output_size, self.hop_length = sample_rate, outputs, 1
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    @staticmethod
    def one_frame_per_utterance(conf: object) -> bool:  # noqa: ARG004 - always
        """Return True."""
        return True

    @property
    def states_size(self) -> int:
        """Numbers in a frame of :meth:`frozen_states`."""
        return self.output_size

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log posteriors (B, 1, K) and ones (B,).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end; or the result of :meth:`frozen_states`.
            lengths_b: number of valid samples of each, on the CPU. Less than 0.1 s is padded with zeros.

        Raises:
            LidError: onnxruntime is missing, or cannot compute the model.
        """
        if wave_bt.dim() == 3:
            return wave_bt.float(), lengths_b
        return self.frozen_states(wave_bt, lengths_b)

    @torch.no_grad()
    def frozen_states(self, wave_bt: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return log posteriors (B, 1, K) and ones (B,)."""
        if self._session is None:
            self._session = open_session(self.graph_n.cpu().numpy().tobytes())
        wave_bt, lengths_b = continue_by_zeros(
            wave_bt.float(), lengths_b, round(SHORTEST_S * int(self.rate or 0))
        )
        mask_b1t = padding_mask(lengths_b, wave_bt.shape[1], wave_bt.device)
        waves_bt = zero_padding(wave_bt[:, None], mask_b1t)[:, 0].cpu().numpy()
        others = self._session.get_inputs()[1:]
        if others:
            scores_bk = self._run(waves_bt, {others[0].name: lengths_b.numpy().astype(np.int64)})
        else:
            rows = zip(waves_bt, lengths_b.tolist(), strict=True)
            scores_bk = np.concatenate([self._run(wave_t[None, :length], {}) for wave_t, length in rows])
        made = torch.from_numpy(scores_bk.astype(np.float32)).to(wave_bt.device)
        return made.log_softmax(dim=1)[:, None], torch.ones_like(lengths_b)

    def _run(self, waves_bt: Any, more: dict[str, Any]) -> Any:
        """Return the first output (B, K) of the model."""
        first = self._session.get_inputs()[0]
        rank = len(first.shape)
        shaped = {1: waves_bt[0], 3: waves_bt[:, None]}.get(rank, waves_bt)
        try:
            scores_bk = self._session.run(None, {first.name: shaped, **more})[0]
        except Exception as error:  # onnxruntime's own exceptions have no common class
            reason = " ".join(str(error).split())[-LONGEST_REASON:]
            raise LidError(f"the ONNX model cannot be computed: {reason}", mend=NOT_SUCH) from error
        if scores_bk.size != len(waves_bt) * self.output_size:
            what = f"the ONNX model gives {list(scores_bk.shape)} scores, not (B, {self.output_size})"
            raise LidError(what, mend="check the labels")
        return scores_bk.reshape(len(waves_bt), self.output_size)


def open_session(content: bytes) -> Any:
    """Return a session of onnxruntime on one thread per core of PyTorch's, with limited memory.

    Raises:
        LidError: onnxruntime is not installed, or cannot load the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise LidError("onnxruntime is not installed", where="onnx_scores", mend=INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.use_env_allocators", "1")
    _limit_memory(onnxruntime)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class
        reason = " ".join(str(error).split())[-LONGEST_REASON:]
        raise LidError(f"onnxruntime cannot load the model: {reason}", mend=NOT_SUCH) from error
    inputs = session.get_inputs()
    kinds = [given.type for given in inputs]
    if kinds not in KINDS or len(inputs[0].shape) not in (1, 2, 3):
        what = f"the ONNX model has inputs {', '.join(kinds)}, not a waveform and perhaps lengths"
        raise LidError(what, mend=NOT_SUCH)
    return session


@functools.cache
def _limit_memory(onnxruntime: Any) -> None:
    """Limit what onnxruntime may allocate on the CPU in this process; once, since allocators are shared."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": LARGEST_ARENA}))
