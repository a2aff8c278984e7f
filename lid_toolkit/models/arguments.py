"""Types of components' arguments: what pydantic checks in a configuration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Window = Literal["hann", "hamming", "blackman", "bartlett"]


def _read_rate(value: Any) -> Any:
    """Read ``16k`` as 16000, as ESPnet does."""
    if isinstance(value, str) and value[-1:] in ("k", "K"):
        rate = 1000 * float(value[:-1])
        return round(rate) if math.isfinite(rate) else rate
    return value


SamplingRate = Annotated[Positive, BeforeValidator(_read_rate)]
