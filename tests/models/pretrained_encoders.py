"""Tiny pretrained encoders with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lid_toolkit.models.frontends.pretrained.frontend import TransformersFrontend

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 32,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}
KINDS = ("xlsr", "wav2vec2", "hubert", "mhubert", "wavlm", "w2v-bert", "whisper")
WAVE_KINDS = KINDS[:5]


def tiny(kind: str, **changes: Any) -> Any:
    """Return a model of transformers with random weights, in evaluation mode."""
    import transformers

    layered = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    names, conf = {
        "xlsr": ("Wav2Vec2", {**SIZES, **CONVOLUTIONS, **layered}),
        "wav2vec2": ("Wav2Vec2", {**SIZES, **CONVOLUTIONS}),
        "hubert": ("Hubert", {**SIZES, **CONVOLUTIONS}),
        "mhubert": ("Hubert", {**SIZES, **CONVOLUTIONS, "conv_pos_batch_norm": True}),
        "wavlm": ("WavLM", {**SIZES, **CONVOLUTIONS, "num_buckets": 20, "max_bucket_distance": 40}),
        "w2v-bert": ("Wav2Vec2Bert", SIZES),
        "whisper": ("Whisper", WHISPER),
    }[kind]
    torch.manual_seed(1)
    config = getattr(transformers, f"{names}Config")(**{**conf, **changes})
    model = getattr(transformers, f"{names}Model")(config)
    with torch.no_grad():  # larger than their usual start, so that faults show
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed_positions" not in name:
                parameter.mul_(3.0)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                buffer.normal_(std=0.3)
    return model.eval()


def save_tiny(folder: Path, kind: str, do_normalize: bool | None = None, **changes: Any) -> Path:
    """Save a tiny encoder below ``folder``; return its folder."""
    path = folder / kind
    tiny(kind, **changes).save_pretrained(path)
    if do_normalize is not None:
        content = {"do_normalize": do_normalize, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
        (path / "preprocessor_config.json").write_text(json.dumps(content))
    return path


def make(folder: Path, **conf: Any) -> TransformersFrontend:
    """Return the front end of a saved encoder, in evaluation mode."""
    torch.manual_seed(2)
    return TransformersFrontend(str(folder), **conf).eval()


def switch_dropout_off(frontend: torch.nn.Module) -> None:
    """Leave no randomness in training but masks and layer drop."""
    for module in frontend.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0  # of attention
