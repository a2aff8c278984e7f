"""Every component of the registry, so small that all combinations are tried."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch

from lid_toolkit.models.arguments import small_arguments
from lid_toolkit.models.build import arguments_model, build_model
from lid_toolkit.models.classifiers import LinearSigmoid, LinearSoftmax
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.protocols import Kind
from lid_toolkit.models.registry import COMPONENTS, find

BANDS = 16
CLASSES = 3


def small(kind: Kind) -> dict[str, dict[str, Any]]:
    """Return the components of a kind with the arguments of small ones."""
    made = {name: find(kind, name) for name in COMPONENTS[kind]}
    return {name: dict(small_arguments(make)) for name, make in made.items() if name not in PRETRAINED}


def needs_a_checkpoint(name: str) -> bool:
    """Return whether a front end has arguments that must be given and are not known here."""
    make = find("frontend", name)
    fields = arguments_model(make).model_fields
    return any(field.is_required() and key not in small_arguments(make) for key, field in fields.items())


# Front ends that are tested with checkpoints of their own.
PRETRAINED = {name for name in COMPONENTS["frontend"] if needs_a_checkpoint(name)}
FRONTENDS: dict[str | None, dict[str, Any]] = {**small("frontend"), None: {}}
ENCODERS, POOLINGS = small("encoder"), small("pooling")
PROJECTORS, LOSSES = small("projector"), small("loss")
NORMALISERS = ("utterance_mvn", None, *sorted(COMPONENTS["normalize"].keys() - {"utterance_mvn"}))
COMBINATIONS = tuple(itertools.product(FRONTENDS, ENCODERS, POOLINGS))


def description(frontend: str | None, encoder: str, pooling: str) -> dict[str, Any]:
    """Describe a model; projectors, losses and normalisers take turns."""
    turn = COMBINATIONS.index((frontend, encoder, pooling))
    loss = list(LOSSES)[turn % len(LOSSES)]
    normaliser = NORMALISERS[turn % len(NORMALISERS)]
    if encoder == "identity" and normaliser == "utterance_mvn":
        normaliser = None  # the pooled means would be rounding errors, which batch norm then magnifies
    projector = list(PROJECTORS)[(turn // 2) % len(PROJECTORS)]
    return {
        "frontend": frontend,
        "frontend_conf": FRONTENDS[frontend],
        "input_size": BANDS if frontend is None else None,
        "normalize": normaliser,
        "encoder": encoder,
        "encoder_conf": ENCODERS[encoder],
        "pooling": pooling,
        "pooling_conf": POOLINGS[pooling],
        "projector": projector,
        "projector_conf": PROJECTORS[projector],
        "loss": loss,
        "loss_conf": LOSSES[loss],
    }


@functools.cache
def untrained(frontend: str | None, encoder: str, pooling: str) -> LidModel:
    """Build a model whose batch-norm statistics and classifier are not those of untrained ones."""
    torch.manual_seed(COMBINATIONS.index((frontend, encoder, pooling)))
    model = build_model(description(frontend, encoder, pooling), CLASSES).eval()
    for name, value in model.named_buffers():
        if name.endswith(("running_mean", "normalize.mean")):
            value.copy_(0.3 * torch.randn_like(value))
        elif name.endswith(("running_var", "normalize.std")):
            value.copy_(0.5 + torch.rand_like(value))
    if isinstance(model.loss, LinearSoftmax | LinearSigmoid):  # they begin at zero
        torch.nn.init.xavier_uniform_(model.loss.weight)
    return model
