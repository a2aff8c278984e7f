"""Build a model from its description: components chosen by name, with ESPnet's names and arguments.

The parameters of a component's constructor are its arguments in the YAML. Their annotations give the types,
which pydantic checks, and the ``Args`` section of the docstring gives the documentation. Sizes that depend on
the neighbouring components (``FROM_NEIGHBOURS``) are passed in by keyword and are not keys of the YAML.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from torch import nn

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.arguments import fixed_arguments
from lid_toolkit.models.external import EVERY, NONE, Packages, is_external
from lid_toolkit.models.frontends.precomputed import PrecomputedFeatures
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.models.protocols import (
    PROTOCOLS,
    Encoder,
    Frontend,
    Kind,
    Pooling,
    Projector,
    corrects_posteriors,
    missing,
)
from lid_toolkit.models.registry import OPTIONAL, find

FROM_NEIGHBOURS = ("input_size", "embedding_size", "classes", "posteriors", "corrected", "external")


def build_model(description: Mapping[str, object], classes: int, external: Packages = NONE) -> LidModel:
    """Build a model with random weights.

    Args:
        description: for each kind of component K the keys ``K`` (a name; None leaves an optional component
            out) and ``K_conf`` (its arguments), and ``input_size`` if ``frontend`` is None. Other keys are
            ignored.
        classes: number of languages, at least 2.
        external: packages other than this toolkit that components may be imported from; leave it out for
            a description that the user did not write.

    Raises:
        LidError: a component or argument is unknown (the message names the nearest known one), or a value is
            not valid.
    """

    # Any: mypy cannot know which protocol the component of a name has; the registry and `missing` ensure it.
    def build(kind: Kind, **sizes: int) -> Any:
        name = description.get(kind)
        if name is None and kind in OPTIONAL:
            return None
        return build_component(kind, name, arguments_of(kind, description), sizes, external)

    frontend = build_frontend(description, external)
    encoder: Encoder = build("encoder", input_size=frontend.output_size)
    pooling: Pooling = build("pooling", input_size=encoder.output_size)
    projector: Projector = build("projector", input_size=pooling.output_size)
    corrected = corrects_posteriors(frontend)
    loss = build("loss", embedding_size=projector.output_size, classes=classes, corrected=corrected)
    given = len(frontend.posteriors_of) * (1 + corrected)
    normalize = build("normalize", input_size=frontend.output_size, posteriors=given)
    return LidModel(frontend, build("specaug"), normalize, encoder, pooling, projector, loss)


def arguments_of(kind: Kind, description: Mapping[str, object]) -> Mapping[str, object]:
    """Return the arguments that a description gives to the component of a kind.

    Raises:
        LidError: they are not a mapping.
    """
    conf = description.get(f"{kind}_conf") or {}
    if not isinstance(conf, Mapping):
        raise LidError("not a mapping of arguments to values", where=f"{kind}_conf", mend="correct the value")
    return conf


def build_frontend(description: Mapping[str, object], external: Packages = NONE) -> Frontend:
    """Build the front end of a description.

    Without a front end (``frontend: null``) the model takes features of ``input_size`` dimensions.

    Raises:
        LidError: as :func:`build_model`.
    """
    conf, size = arguments_of("frontend", description), description.get("input_size")
    if description.get("frontend") is not None:
        return cast(Frontend, build_component("frontend", description["frontend"], conf, {}, external))
    if conf or not isinstance(size, int) or not size:
        what = "frontend_conf without a frontend" if conf else "the dimension of the features is unknown"
        raise LidError(what, where="frontend", mend="name a frontend, or set input_size for features")
    return PrecomputedFeatures(size)


def one_frame_per_utterance(description: Mapping[str, object], external: Packages = EVERY) -> bool:
    """Return whether the front end gives one frame per utterance of any length; it is not built for this."""
    if description.get("frontend") is None:
        return False
    make = find("frontend", description["frontend"], external)
    asked = getattr(make, "one_frame_per_utterance", None)  # front ends made by functions have many frames
    return asked is not None and bool(asked(arguments_of("frontend", description)))


def with_architecture(description: Mapping[str, object], frontend: Frontend) -> dict[str, object]:
    """Return a description from which the model can be built without its initial pretrained weights."""
    return {**description, "frontend_conf": frontend.portable_conf(arguments_of("frontend", description))}


def build_component(
    kind: Kind,
    name: object,
    conf: Mapping[str, object],
    sizes: Mapping[str, int],
    external: Packages = NONE,
) -> nn.Module:
    """Build one component from its name, its configured arguments, and sizes set by its neighbours.

    Raises:
        LidError: a name or argument is unknown (the message names the nearest known one), a value is not
            valid, or an external class lacks an attribute that this kind of component must have.
    """
    make = find(kind, name, external)
    where, fixed = f"{kind}_conf", fixed_arguments(make)
    for argument in conf.keys() & fixed.keys():
        if conf[argument] != fixed[argument]:
            what = f"{argument}: {conf[argument]} is not supported"
            raise LidError(what, where=where, mend=f"the only value is {fixed[argument]}")
    free = {key: value for key, value in conf.items() if key not in fixed}
    arguments = _check(kind, str(name), arguments_model(make), free)
    offered = {**sizes, "external": external}
    wanted = inspect.signature(make).parameters
    try:
        part: nn.Module = make(**{key: offered[key] for key in offered if key in wanted}, **arguments)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, AttributeError) as error:
        what = f"{error} is not known" if isinstance(error, KeyError) else str(error)
        raise LidError(what, where=where, mend="correct the value") from error
    if is_external(str(name)) and (absent := missing(kind, part)):
        what = f"'{name}' cannot be used: it has no {', '.join(absent)}"
        mend = f"{PROTOCOLS[kind].__name__} in lid_toolkit.models.protocols says what it must have"
        raise LidError(what, where=kind, mend=mend)
    return part


@functools.cache
def arguments_model(make: Callable[..., nn.Module]) -> type[BaseModel]:
    """Return the configurable parameters of a component as a pydantic model that forbids all others.

    Raises:
        LidError: a parameter of an external class has no annotation, or one that pydantic cannot check.
    """
    function = make.__init__ if inspect.isclass(make) else make
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in FROM_NEIGHBOURS
    }
    for name, parameter in parameters.items():
        if parameter.annotation is parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise LidError(
                f"parameter {name} of {make.__name__} has no type that can be checked",
                where=make.__module__,
                mend=f"write each parameter with its type, such as {name.strip('*')}: int",
            )
    try:
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {  # pydantic's own type of them
            name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in parameters.items()
        }
        return create_model(make.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    except (NameError, PydanticUserError) as error:
        what = f"types of {make.__name__}'s parameters cannot be checked: {str(error).partition(chr(10))[0]}"
        raise LidError(what, where=make.__module__, mend="use types that pydantic knows") from error


def _check(kind: Kind, name: str, model: type[BaseModel], conf: Mapping[str, object]) -> dict[str, object]:
    """Check the configured arguments and return them, converted to their types."""
    where = f"{kind}_conf"
    for argument in conf:
        if argument not in model.model_fields:
            what = f"unknown argument '{argument}' of {kind} '{name}'"
            raise LidError(what, where=where, mend=nearest(str(argument), model.model_fields))
    try:
        checked = model.model_validate(conf)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{first['loc'][0]}: {first['msg']}"
        raise LidError(what, where=where, mend="correct the value") from error
    return {key: getattr(checked, key) for key in checked.model_fields_set}
