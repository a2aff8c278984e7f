"""A model from its description: components chosen by name, with ESPnet's names and arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.ecapa_tdnn import EcapaTdnnEncoder
from lid_toolkit.models.frontend import LogMelFrontend
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.loss import aamsoftmax, aamsoftmax_sc_topk, softmax
from lid_toolkit.models.normalize import UtteranceMVN
from lid_toolkit.models.pooling import ChannelAttentiveStatistics
from lid_toolkit.models.projector import RawNet3Projector
from lid_toolkit.models.specaug import SpecAug

COMPONENTS: Mapping[str, Mapping[str, Callable[..., nn.Module]]] = {
    "frontend": {"default": LogMelFrontend},
    "specaug": {"specaug": SpecAug},
    "normalize": {"utterance_mvn": UtteranceMVN},
    "encoder": {"ecapa_tdnn": EcapaTdnnEncoder},
    "pooling": {"chn_attn_stat": ChannelAttentiveStatistics},
    "projector": {"rawnet3": RawNet3Projector},
    "loss": {"aamsoftmax_sc_topk": aamsoftmax_sc_topk, "aamsoftmax": aamsoftmax, "softmax": softmax},
}
OPTIONAL = ("specaug", "normalize")


def build_model(description: Mapping[str, Any], classes: int) -> LidModel:
    """Build a model with random weights.

    Args:
        description: for each component C of ``COMPONENTS`` the keys ``C`` (a name; None leaves an
            optional one out) and ``C_conf`` (its arguments); other keys are not read.
        classes: number of languages, at least 2.

    Raises:
        LidError: an unknown component or argument, naming the nearest known one.
    """
    if classes < 2:
        raise LidError(f"{classes} language in training data", mend="identification needs at least two")

    def build(component: str, **sizes: int) -> Any:
        conf = description.get(f"{component}_conf") or {}
        return build_component(component, description.get(component), conf, sizes)

    frontend = build("frontend")
    encoder = build("encoder", input_size=frontend.output_size)
    pooling = build("pooling", input_size=encoder.output_size)
    projector = build("projector", input_size=pooling.output_size)
    loss = build("loss", embedding_size=projector.output_size, classes=classes)
    return LidModel(frontend, build("specaug"), build("normalize"), encoder, pooling, projector, loss)


def build_component(
    component: str, name: str | None, conf: Mapping[str, Any], sizes: Mapping[str, int]
) -> nn.Module | None:
    """Build one component from its name, its configured arguments and the sizes its neighbours set."""
    if name is None and component in OPTIONAL:
        return None
    known = COMPONENTS[component]
    if name is None or name not in known:
        raise LidError(f"unknown {component} '{name}'", where=component, mend=nearest(str(name), known))
    arguments = set(inspect.signature(known[name]).parameters) - sizes.keys()
    for argument in conf:
        if argument not in arguments:
            raise LidError(
                f"unknown argument '{argument}' of {component} '{name}'",
                where=f"{component}_conf",
                mend=nearest(argument, arguments),
            )
    try:
        return known[name](**sizes, **conf)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise LidError(str(error), where=f"{component}_conf", mend="correct the value") from error
