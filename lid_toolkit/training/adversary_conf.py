"""The settings of domain-invariant training, known without importing torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

DomainTable = Literal["utt2spk", "utt2dataset"]
"""Tables of the training set whose values are domains: speakers (or recordings), and corpora."""


class AdversaryConf(BaseModel):
    """How strongly domains are hidden; see :class:`lid_toolkit.models.adversary.DomainAdversary`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weight: PositiveFloat = 0.1
    """Factor on the reversed gradient."""
    hidden_size: PositiveInt = 256
    """Number of hidden units of the classifier of domains."""
