"""The labels of a model: usually those of the training data, but a pretrained classifier may know more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lid_toolkit.languages import code
from lid_toolkit.models.build import arguments_of, build_frontend
from lid_toolkit.models.external import EVERY


def model_labels(description: Mapping[str, object], languages: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the model that is trained, in index order.

    If the loss adds log posteriors from the front end (``loss_conf.offset``), they are the front end's
    languages, if these contain all of the data's: the model can then answer languages that are not in the
    data. A language of the data keeps the label that the data have for it. In every other case they are
    those of the data.

    Args:
        description: the model's description.
        languages: the labels of the training data, in index order.
    """
    if not arguments_of("loss", description).get("offset"):
        return tuple(languages)
    named = build_frontend(description, EVERY).posteriors_of
    own = {code(label): label for label in languages}
    if not {code(name) for name in named}.issuperset(own):
        return tuple(languages)  # LidModel.check_posteriors says what is wrong
    return tuple(own.get(code(name), name) for name in named)
