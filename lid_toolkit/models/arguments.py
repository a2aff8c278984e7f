"""Types of components' arguments, which pydantic checks, and a decorator with facts about a component."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

PositiveInt = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
NotNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Window = Literal["hann", "hamming", "blackman", "bartlett"]
Make = TypeVar("Make", bound=Callable[..., object])


def _read_rate(value: object) -> object:
    """Read ``16k`` as 16000, as ESPnet does."""
    if isinstance(value, str) and value[-1:] in ("k", "K"):
        rate = 1000 * float(value[:-1])
        return round(rate) if math.isfinite(rate) else rate
    return value


SamplingRate = Annotated[PositiveInt, BeforeValidator(_read_rate)]


def component(
    *, fixed: Mapping[str, object] | None = None, small: Mapping[str, object] | None = None
) -> Callable[[Make], Make]:
    """Add to a component what its signature cannot express.

    Args:
        fixed: arguments of ESPnet that are only supported with this one value; any other is refused.
        small: arguments of a small version, which the tests combine with all other components. A small
            front end gives 16 features every 80 samples. Not needed if the defaults are small.
    """

    def note(make: Make) -> Make:
        make.fixed_arguments, make.small_arguments = dict(fixed or {}), dict(small or {})  # type: ignore[attr-defined]
        return make

    return note


def fixed_arguments(make: Callable[..., object]) -> Mapping[str, object]:
    """Return the arguments of a component that have only one supported value, with this value."""
    fixed: Mapping[str, object] = getattr(make, "fixed_arguments", {})
    return fixed


def small_arguments(make: Callable[..., object]) -> Mapping[str, object]:
    """Return the arguments that make a small version of a component."""
    small: Mapping[str, object] = getattr(make, "small_arguments", {})
    return small
