"""The same models as most people write them: ``transformers`` or torchaudio, no masks but the encoder's own.

The front end is followed by a textbook ECAPA-TDNN (``models.Textbook``), a linear layer and cross-entropy.

Shapes: b batch, t samples or frames, d features, l layers (not languages).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchaudio
from gpu_shapes import CLASSES, LOG_MEL, RATE, SIZES, channels_of, encoder_config
from models import Textbook
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from lid_toolkit.data.loader import Minibatch
from lid_toolkit.training.precision import Precision


class Plain(nn.Module):
    """Front end, textbook ECAPA-TDNN and classifier.

    Args:
        shape: see ``gpu_shapes.configuration``.
    """

    def __init__(self, shape: str) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None
        if shape in SIZES:
            from transformers import Wav2Vec2Model

            self.encoder = Wav2Vec2Model(encoder_config(SIZES[shape]))
            size = self.encoder.config.hidden_size
            self.weights = nn.Parameter(torch.zeros(self.encoder.config.num_hidden_layers + 1))
        else:
            conf = LOG_MEL["frontend_conf"]
            size = conf["n_mels"]
            self.mel = torchaudio.transforms.MelSpectrogram(RATE, **conf)
        channels = channels_of(shape)
        self.head = Textbook(channels)
        self.head.first[0] = nn.Conv1d(size, channels, 5, padding=2)
        self.classifier = nn.Linear(2 * 1536, CLASSES)

    def forward(self, wave_bt: Tensor, lengths_b: Tensor) -> Tensor:
        """Return scores (B, classes)."""
        if self.encoder is None:
            feats_btd = self.mel(wave_bt).clamp(min=1e-10).log().transpose(1, 2)
        else:
            mask_bt = torch.arange(wave_bt.shape[1], device=wave_bt.device) < lengths_b[:, None]
            output = self.encoder(wave_bt, attention_mask=mask_bt.long(), output_hidden_states=True)
            weights_l = self.weights.softmax(dim=0)
            # The last one in the list lacks the final normalisation, whose gradient DDP would wait for.
            states = (*output.hidden_states[:-1], output.last_hidden_state)
            feats_btd = (torch.stack(states) * weights_l[:, None, None, None]).sum(dim=0)
        scores_bc: Tensor = self.classifier(self.head(feats_btd, lengths_b))
        return scores_bc


def steps(
    shape: str, device: torch.device, precision: Precision
) -> tuple[Callable[[Minibatch], object], Callable[[Minibatch], object]]:
    """Return a function that trains on a batch and one that identifies it, for a process in a group."""
    torch.manual_seed(0)
    model = Plain(shape).to(device)
    wrapped = DistributedDataParallel(model, None if device.type == "cpu" else [device])
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=5e-6)

    def train(batch: Minibatch) -> object:
        wrapped.train()
        with precision.autocast(device):
            scores_bc = wrapped(batch.wave_bt.to(device), batch.lengths_b.to(device))
            loss = F.cross_entropy(scores_bc, batch.labels_b.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wrapped.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    @torch.inference_mode()
    def identify(batch: Minibatch) -> object:
        model.eval()
        with precision.autocast(device):
            scores_bc = model(batch.wave_bt.to(device), batch.lengths_b.to(device))
        return scores_bc.float().softmax(dim=1).cpu()

    return train, identify
