"""Changes to a pretrained encoder before training: fewer layers, frozen parts, LoRA, masks.

Shapes: b batch, d dimensions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lid_toolkit.errors import LidError
from lid_toolkit.models.frontends.pretrained.hidden_states import LayerOutput, span_mask
from lid_toolkit.models.frontends.pretrained.lora import Lora
from lid_toolkit.models.frontends.pretrained.upstream_types import Config, Stack, Upstream

# WavLM's attention reads the weights without calling these modules.
WAVLM_WITHOUT_EFFECT = {"q_proj", "k_proj", "v_proj", "out_proj"}


def cut_layers(stack: Stack, config: Config, highest: int) -> None:
    """Remove the layers above the highest chosen one, and skip the normalisation after the last layer.

    The normalisation keeps its weights, since model files of older versions contain them. It is not trained
    and returns its input. If no layers are left, the result is state 0.
    """
    whole = len(stack.layers)
    stack.layers = stack.layers[:highest]
    normalises_last = config.model_type == "whisper" or getattr(config, "do_stable_layer_norm", False)
    if highest < whole and normalises_last and hasattr(stack, "layer_norm"):
        stack.layer_norm.requires_grad_(False)
        stack.layer_norm.register_forward_hook(_return_input)


def _return_input(_module: nn.Module, given: tuple[Tensor, ...], _made: Tensor) -> Tensor:
    return given[0]


def add_lora(upstream: Upstream, lora: Lora, default_targets: Sequence[str]) -> None:
    """Add trainable low-rank adapters, and freeze the encoder unless ``lora`` says otherwise."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = list(lora.target_modules or default_targets)
    useless = WAVLM_WITHOUT_EFFECT.intersection(targets) if upstream.config.model_type == "wavlm" else set()
    names = [f".{name}" for name, _ in upstream.named_modules()]
    absent = [target for target in targets if not any(name.endswith(f".{target}") for name in names)]
    for faults, what in (
        (sorted(useless), "would have no effect in WavLM"),
        (absent, "is not part of the encoder"),
    ):
        if faults:
            raise LidError(
                f"an adapter cannot be added: {faults[0]} {what}",
                where="frontend_conf.lora.target_modules",
                mend=f"the default is {', '.join(default_targets)}",
            )
    own = [] if lora.frozen else [value for value in upstream.parameters() if value.requires_grad]
    upstream.requires_grad_(False)
    conf = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none"
    )
    inject_adapter_in_model(conf, upstream)
    for value in own:
        value.requires_grad_(True)


@contextlib.contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Within the context, a model computes as before :func:`add_lora`."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [part for part in model.modules() if isinstance(part, BaseTunerLayer)]
    # peft freezes the adapters that it turns off, and trains all that it turns on.
    trained = [(value, value.requires_grad) for value in model.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for value, was in trained:
            value.requires_grad_(was)


def is_adapter(name: str) -> bool:
    """Return whether a parameter of this name belongs to an adapter, and not to the encoder."""
    return any(part.startswith("lora_") for part in name.split("."))


def freeze_parts(upstream: Upstream, names: tuple[str, ...]) -> None:
    """Freeze the convolutions before the transformer; w2v-BERT 2.0 has none."""
    for name in names:
        upstream.get_submodule(name).requires_grad_(False)
    if hasattr(upstream, "freeze_feature_encoder"):
        upstream.freeze_feature_encoder()


def mask_projection(upstream: nn.Module, probability: float, width: int) -> None:
    """Zero spans of dimensions in training: of the projected inputs, or of log-mel bands in Whisper."""

    def hide(x: Tensor, dim: int) -> Tensor:
        size = x.shape[dim]
        hidden_bd = span_mask(torch.full((len(x),), size), size, probability, width)
        return x.masked_fill(hidden_bd.to(x.device, non_blocking=True).unsqueeze(3 - dim), 0.0)

    def hide_output(module: nn.Module, _given: object, made: LayerOutput) -> LayerOutput:
        if not module.training:
            return made
        return (hide(made[0], 2), *made[1:]) if isinstance(made, tuple) else hide(made, 2)

    def hide_input(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        return (hide(given[0], 1),) if module.training else None

    if hasattr(upstream, "feature_projection"):
        upstream.get_submodule("feature_projection").register_forward_hook(hide_output)
    else:
        encoder = upstream.get_submodule("encoder" if hasattr(upstream, "encoder") else "")
        encoder.get_submodule("conv1").register_forward_pre_hook(hide_input)
