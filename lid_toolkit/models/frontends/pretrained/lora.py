"""The settings of LoRA; ``adapt`` adds its maps to an encoder. Nothing here imports torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lid_toolkit.models.arguments import Fraction, PositiveInt


class Lora(BaseModel):
    """``lora``: low-rank adapters of linear maps (Hu et al., ICLR 2022)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rank: PositiveInt = 8
    """Rank r of the added maps."""
    alpha: PositiveInt = 8
    """The added maps are scaled by alpha / r."""
    dropout: Fraction = 0.0
    """Dropout on the input of the added maps."""
    target_modules: list[str] | None = None
    """Names of the linear maps to adapt; null for queries and values (WavLM: the feed-forward maps)."""
    frozen: bool = True
    """Do not train the encoder's own parameters."""
