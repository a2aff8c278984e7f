"""Initial weights from trained models: parameters by name, rows of the classifier by language."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.importers.espnet import experiment_of, read_labels, without_adapters
from lid_toolkit.importers.espnet_names import translate
from lid_toolkit.importers.foreign_model import ForeignModel
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.checkpoint import load
from lid_toolkit.training.optimization import starts_with

CLASSIFIER = "loss"
SHOWN = 20


@dataclass(frozen=True)
class WeightSource:
    """Which weights of a file initialise which parameters: ESPnet's ``FILE:SOURCE:DESTINATION:EXCLUDED``.

    Example: ``a.pth:encoder:encoder:encoder.fc`` takes all weights below ``encoder`` except ``encoder.fc``.

    Attributes:
        path: the file.
        source: prefix of the names to take; ``""`` takes all.
        destination: prefix that replaces it in this model.
        excluded: prefixes of names in the file that are not taken.
    """

    path: Path
    source: str = ""
    destination: str = ""
    excluded: tuple[str, ...] = ()

    def name_here(self, name: str) -> str | None:
        """Return the name in this model of a weight of the file, or None if the weight is not taken."""
        if any(starts_with(name, start) for start in self.excluded):
            return None
        if self.source and not starts_with(name, self.source):
            return None
        rest = name[len(self.source) :].lstrip(".") if self.source else name
        return ".".join(part for part in (self.destination, rest) if part)


def parse_source(text: str) -> WeightSource:
    """Parse ``FILE`` or ``FILE:SOURCE:DESTINATION:EXCLUDED``; the last three may be empty or missing.

    Raises:
        LidError: there are more than four parts, or no file.
    """
    path, *rest = text.split(":")
    if len(rest) > 3 or not path:
        mend = "write FILE:SOURCE:DESTINATION:EXCLUDED"
        raise LidError(f"'{text}' has {len(rest) + 1} parts", where="init_param", mend=mend)
    source, destination, excluded = [*rest, "", "", ""][:3]
    return WeightSource(Path(path), source, destination, tuple(part for part in excluded.split(",") if part))


def check_sources(texts: Sequence[str]) -> None:
    """Check that the files named by ``init_param`` exist.

    Raises:
        LidError: a file does not exist, or a text is not of the right form.
    """
    for text in texts:
        path = parse_source(text).path
        if not path.is_file():
            raise LidError(
                "does not exist", where=f"init_param {path}", mend="train it first, or name another"
            )


def initialise(
    model: LidModel, source: WeightSource, languages: Sequence[str], ignore_mismatch: bool
) -> None:
    """Copy weights of a trained model by name; of the classifier, the rows of the languages both have.

    Args:
        model: the model; changed.
        source: the weights to copy.
        languages: labels of ``model`` in index order.
        ignore_mismatch: leave parameters whose name or shape differs as they are.

    Raises:
        LidError: names or shapes differ and ``ignore_mismatch`` is false.
    """
    ours = model.state_dict()
    theirs, their_languages = read_weights(source.path, ours)
    by_language = {f"{CLASSIFIER}.{name}" for name in model.loss.by_class}
    same_languages = their_languages is None or tuple(their_languages) == tuple(languages)
    taken: dict[str, Tensor] = {}
    unfit: list[str] = []
    for their_name, value in theirs.items():
        name = source.name_here(their_name)
        if name is None:
            continue
        fitted = None
        if name in ours:
            fitted = value if ours[name].shape == value.shape else None
            if name in by_language and not same_languages:
                fitted = rows_by_language(ours[name], value, languages, their_languages or ())
        if fitted is None:
            unfit.append(name)
        else:
            taken[name] = fitted
    wanted = {source.destination} if source.destination else {""}
    excluded = {
        WeightSource(source.path, source.source, source.destination).name_here(x) for x in source.excluded
    }
    lacking = [
        name
        for name in ours
        if name not in taken
        and name not in unfit
        and all(not start or starts_with(name, start) for start in wanted)
        and not any(start and starts_with(name, start) for start in excluded)
    ]
    if (unfit or lacking) and not ignore_mismatch:
        raise LidError(
            f"{len(unfit) + len(lacking)} parameters differ in name or shape, e.g. {(unfit or lacking)[0]}",
            where=source.path,
            mend="set ignore_init_mismatch: true to leave them as they are",
        )
    model.load_state_dict({**ours, **taken})
    logging.info("%d of %d tensors copied from %s", len(taken), len(ours), source.path)
    if their_languages is not None and by_language & taken.keys():
        describe_languages(languages, their_languages)


def read_weights(path: Path, ours: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Sequence[str] | None]:
    """Return the weights of a model file, checkpoint or plain state dict, and its labels if they are known.

    A plain state dict may be ESPnet's: its names are translated, and its experiment has the labels.

    Args:
        path: the file.
        ours: the parameters that they are for.

    Raises:
        LidError: the file does not exist, is damaged, or holds no weights.
    """
    content: Mapping[str, object] = load(path)
    weights, identity = content.get("model", content), content.get("identity")
    languages = content.get("languages") or (
        identity.get("languages") if isinstance(identity, Mapping) else None
    )
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise LidError("holds no weights by name", where=path, mend="give the .pth file of a training")
    if isinstance(languages, Sequence):
        return weights, languages
    return read_espnet_weights(path, weights, ours)


def read_espnet_weights(
    path: Path, weights: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Return a plain state dict under this toolkit's names, and the labels of the experiment around it.

    Arguments and errors are those of :func:`read_weights`.
    """
    config = experiment_of(path) or {}
    languages = None
    try:
        languages = read_labels(ForeignModel(path.parent), config) if config else None
    except LidError as error:
        logging.warning("%s; the rows of the classifier are taken in their order", error)
    return translate(without_adapters(weights, config), ours), languages


def rows_by_language(
    ours: Tensor, theirs: Tensor, languages: Sequence[str], their_languages: Sequence[str]
) -> Tensor | None:
    """Return ``ours`` with the rows of shared languages from ``theirs``; None if their shapes do not match.

    Each language has the same number of rows (its sub-centres), one after another. Example with two: from
    a model of ``deu fra``, a model of ``eng deu`` takes rows 0 and 1 as its rows 2 and 3.
    """
    if not theirs.ndim or theirs.shape[1:] != ours.shape[1:]:
        return None
    centres, rest = divmod(len(theirs), len(their_languages))
    if rest or centres * len(languages) != len(ours):
        return None
    mixed = ours.clone()
    their_rows = {language: row for row, language in enumerate(their_languages)}
    for row, language in enumerate(languages):
        if language in their_rows:
            start = their_rows[language] * centres
            mixed[row * centres : (row + 1) * centres] = theirs[start : start + centres]
    return mixed


def describe_languages(languages: Sequence[str], their_languages: Sequence[str]) -> None:
    """Log for which languages the classifier's rows were copied, are new, or were not used."""
    here, there = set(languages), set(their_languages)
    for what, labels in (("kept", here & there), ("new", here - there), ("not used", there - here)):
        if labels:
            more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
            logging.info(
                "classifier: %d languages %s: %s%s", len(labels), what, " ".join(sorted(labels)[:SHOWN]), more
            )
