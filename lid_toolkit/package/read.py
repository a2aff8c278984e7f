"""Read a packed model, a zip or its unpacked folder, without trusting anything in it.

A package may come from a stranger. Nothing in it is run: weights are safetensors, YAML is loaded by a safe
loader, and components are looked up by name, never imported from the package. It is opened by
:mod:`lid_toolkit.untrusted`. :mod:`lid_toolkit.package.format` describes the layout.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from lid_toolkit.errors import LidError
from lid_toolkit.models.external import NONE, Packages
from lid_toolkit.package.files import check_sum, read_mapping, read_meta, unpacked
from lid_toolkit.package.format import (
    FETCH_AGAIN,
    LANGUAGES,
    MODEL,
    NEEDED,
    WEIGHTS,
    Description,
    Labels,
)
from lid_toolkit.training.checkpoint import SavedModel, restore


def read_package(source: Path, external: Packages = NONE) -> SavedModel:
    """Read a packed model.

    Args:
        source: the zip, or the folder with its files.
        external: packages other than this toolkit that components may be imported from.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    with unpacked(source, NEEDED) as folder:
        meta = read_meta(folder, source)
        for file in NEEDED[1:]:
            check_sum(folder / file, file, meta, source)
        description = Description.from_mapping(read_mapping(folder / MODEL, source), source)
        labels = Labels.from_mapping(read_mapping(folder / LANGUAGES, source), source).labels
        try:
            weights = load_file(folder / WEIGHTS)
        except SafetensorError as error:
            raise LidError(f"{WEIGHTS} is damaged: {error}", where=source, mend=FETCH_AGAIN) from error
        return restore(description.components, weights, labels, description.rate, source, external)
