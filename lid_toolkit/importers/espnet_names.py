"""Names of models and of parameters in ESPnet, and what they are called here. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MODELS = (None, "espnet")
"""Values of ``model`` that are supported."""
LID1_ONLY = "only models of lid1 (model: espnet) are supported; the model of the recipe geolid is not"
# Constants in ESPnet's state dicts. This toolkit computes them when it builds a front end.
CONSTANTS = re.compile(r"frontend\.(frontends\.\d+\.)?(logmel\.melmat|flipped_filter|transform\..*)")
FRONTEND = r"^(frontend\.(?:frontends\.\d+\.)?)"
UPSTREAM = FRONTEND + r"upstream\.upstream\.model\."
LAYER = UPSTREAM + r"(encoder\.layers\.\d+\.)"
# Patterns and replacements for parameter names, applied one after the other. Those with UPSTREAM, except the
# last one, are for the encoders of fairseq and WavLM that s3prl has; others are transformers' own.
RENAMED = (
    (r"^pooling\.attention\.0\.", "pooling.score_frame."),
    (r"^pooling\.attention\.2\.", "pooling.norm."),
    (r"^pooling\.attention\.3\.", "pooling.score_channel."),
    (r"\.se\.se\.1\.", ".se.reduce."),
    (r"\.se\.se\.3\.", ".se.norm."),
    (r"\.se\.se\.4\.", ".se.expand."),
    (r"\.(skfwse|skcwse)\.(fcs?)\.", r".\1.attention.\2."),
    (r"^encoder\.embed\.out\.0\.", "encoder.embed.out."),
    (UPSTREAM + r"layer_norm\.", r"\1upstream.feature_projection.layer_norm."),
    (UPSTREAM + r"post_extract_proj\.", r"\1upstream.feature_projection.projection."),
    (UPSTREAM + r"mask_emb$", r"\1upstream.masked_spec_embed"),
    (
        UPSTREAM + r"feature_extractor\.conv_layers\.(\d+)\.0\.",
        r"\1upstream.feature_extractor.conv_layers.\2.conv.",
    ),
    (
        UPSTREAM + r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?",
        r"\1upstream.feature_extractor.conv_layers.\2.layer_norm.",
    ),
    (UPSTREAM + r"encoder\.pos_conv\.0\.", r"\1upstream.encoder.pos_conv_embed.conv."),
    (LAYER + r"fc1\.", r"\1upstream.\2feed_forward.intermediate_dense."),
    (LAYER + r"fc2\.", r"\1upstream.\2feed_forward.output_dense."),
    (LAYER + r"self_attn_layer_norm\.", r"\1upstream.\2layer_norm."),
    (LAYER + r"self_attn\.grep_a$", r"\1upstream.\2attention.gru_rel_pos_const"),
    (LAYER + r"self_attn\.grep_linear\.", r"\1upstream.\2attention.gru_rel_pos_linear."),
    (LAYER + r"self_attn\.relative_attention_bias\.", r"\1upstream.\2attention.rel_attn_embed."),
    (LAYER + r"self_attn\.", r"\1upstream.\2attention."),
    (UPSTREAM, r"\1upstream."),
    (FRONTEND + r"featurizer\.weights$", r"\1weights"),
    (r"\.pos_conv_embed\.conv\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv_embed\.conv\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
)
# Parts of an encoder that s3prl keeps although its features do not depend on them: for pretraining, for
# masks in training, and for speech recognition. The weights of the sum over layers are among them if one
# layer is used.
UNUSED = re.compile(
    FRONTEND
    + r"(weights$|upstream\.(quantizer|project_q|final_proj|label_embs_concat|masked_spec_embed|adapter)\b)"
)
ENCODER_LAYER = re.compile(FRONTEND + r"upstream\.encoder\.layers\.\d+\.")


def translate(theirs: Mapping[str, Tensor], ours: Mapping[str, object]) -> dict[str, Tensor]:
    """Return ESPnet's parameters under this toolkit's names, without those that its features do not need.

    Parameters that are unknown here are kept, so that a comparison with the model finds them.

    Args:
        theirs: parameters by name; names of this toolkit stay as they are.
        ours: the parameters of the model that they are for. It has only the layers that it uses.
    """
    return {name: value for name, value in rename(theirs).items() if name in ours or not _unused(name, ours)}


def rename(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ESPnet's parameters under this toolkit's names, without constants."""
    renamed = {}
    for name, value in theirs.items():
        if CONSTANTS.fullmatch(name):
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _unused(name: str, ours: Mapping[str, object]) -> bool:
    layer = ENCODER_LAYER.match(name)
    above = layer is not None and not any(other.startswith(layer[0]) for other in ours)
    return above or UNUSED.match(name) is not None
