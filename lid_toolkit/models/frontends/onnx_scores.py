"""Log posteriors that an ONNX model computes (``frontend: onnx_scores``), for imported models.

Shapes: b batch, t samples, k languages, n bytes of the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.models.arguments import PositiveInt, SamplingRate
from lid_toolkit.models.bases import AnswerFrontend
from lid_toolkit.models.masking import continue_by_zeros, padding_mask, zero_padding
from lid_toolkit.untrusted_onnx import open_session, run_session

SHORTEST_S = 0.1
KINDS = (["tensor(float)"], ["tensor(float)", "tensor(int64)"])
NOT_SUCH = "give a model from waveforms to scores of languages"


class OnnxScores(AnswerFrontend):
    """The softmax of the scores of an ONNX model, one frame of log posteriors per utterance.

    The model is a buffer of bytes, so that model files and packed models contain it; onnxruntime computes it
    on the CPU. If it has no input for lengths, utterances are computed one by one. So answers are the same in
    every batch, if the model does not read padding. Utterances of less than 0.1 s are padded with zeros.

    Args:
        graph_bytes: size of the ONNX file.
        outputs: number of scores of an utterance, one for each language.
        sample_rate: samples per second.
    """

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

    def answers(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return log posteriors (B, 1, K).

        Args:
            wave_bt: waveforms in [-1, 1], padded at the end.
            lengths_b: number of valid samples of each, on the CPU.

        Raises:
            LidError: onnxruntime is missing, or cannot compute the model.
        """
        if self._session is None:
            self._session = checked_session(self.graph_n.cpu().numpy().tobytes())
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
        return made.log_softmax(dim=1)[:, None]

    def _run(self, waves_bt: Any, more: dict[str, Any]) -> Any:
        """Return the first output (B, K) of the model."""
        first = self._session.get_inputs()[0]
        rank = len(first.shape)
        shaped = {1: waves_bt[0], 3: waves_bt[:, None]}.get(rank, waves_bt)
        scores_bk = run_session(self._session, None, {first.name: shaped, **more}, None, NOT_SUCH)[0]
        if scores_bk.size != len(waves_bt) * self.output_size:
            what = f"the ONNX model gives {list(scores_bk.shape)} scores, not (B, {self.output_size})"
            raise LidError(what, mend="check the labels")
        return scores_bk.reshape(len(waves_bt), self.output_size)


def checked_session(content: bytes) -> Any:
    """Return a session of onnxruntime with as many threads as PyTorch has.

    Raises:
        LidError: onnxruntime is not installed or cannot load the model, or its inputs are no waveforms.
    """
    session = open_session(content, None, torch.get_num_threads(), mend=NOT_SUCH)
    inputs = session.get_inputs()
    kinds = [given.type for given in inputs]
    if kinds not in KINDS or len(inputs[0].shape) not in (1, 2, 3):
        what = f"the ONNX model has inputs {', '.join(kinds)}, not a waveform and perhaps lengths"
        raise LidError(what, mend=NOT_SUCH)
    return session
