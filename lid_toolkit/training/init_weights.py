"""Weights to start from: taken by name from trained models, the classifier's rows by language."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lid_toolkit.errors import LidError
from lid_toolkit.models.lid_model import LidModel
from lid_toolkit.training.checkpoint import load
from lid_toolkit.training.optimization import starts_with

CLASSIFIER = "loss"
SHOWN = 20


@dataclass(frozen=True)
class Source:
    """ESPnet's ``FILE:SOURCE:DESTINATION:EXCLUDED``: which weights of a file become which of the model.

    Attributes:
        path: the file.
        source: start of the names to take; ``""`` takes all.
        destination: what stands in its place here.
        excluded: starts of names in the file that are not taken.
    """

    path: Path
    source: str = ""
    destination: str = ""
    excluded: tuple[str, ...] = ()

    def name_here(self, name: str) -> str | None:
        """Return what a weight of the file is called here, or None if it is not to be taken."""
        if any(starts_with(name, start) for start in self.excluded):
            return None
        if self.source and not starts_with(name, self.source):
            return None
        rest = name[len(self.source) :].lstrip(".") if self.source else name
        return ".".join(part for part in (self.destination, rest) if part)


def parse_source(text: str) -> Source:
    """Parse ``FILE``, or ``FILE:SOURCE:DESTINATION:EXCLUDED`` of which each may be empty or left out.

    Raises:
        LidError: more parts than four.
    """
    path, *rest = text.split(":")
    if len(rest) > 3 or not path:
        mend = "write FILE:SOURCE:DESTINATION:EXCLUDED"
        raise LidError(f"'{text}' has {len(rest) + 1} parts", where="init_param", mend=mend)
    source, destination, excluded = [*rest, "", "", ""][:3]
    return Source(Path(path), source, destination, tuple(part for part in excluded.split(",") if part))


def check_sources(texts: Sequence[str]) -> None:
    """Refuse ``init_param`` that names no files.

    Raises:
        LidError: a file is missing, or a form is wrong.
    """
    for text in texts:
        path = parse_source(text).path
        if not path.is_file():
            raise LidError("no such file", where=f"init_param {path}", mend="train it first, or name another")


def initialise(model: LidModel, source: Source, languages: Sequence[str], ignore_mismatch: bool) -> None:
    """Take weights of a trained model over by name; of the classifier, the rows of languages both have.

    Args:
        model: to be changed.
        source: which weights.
        languages: labels of ``model`` in index order.
        ignore_mismatch: keep what does not fit as it is.

    Raises:
        LidError: names or shapes differ and ``ignore_mismatch`` is off.
    """
    theirs, their_languages = read_weights(source.path)
    ours = model.state_dict()
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
    spared = {source.destination} if source.destination else {""}
    excluded = {Source(source.path, source.source, source.destination).name_here(x) for x in source.excluded}
    lacking = [
        name
        for name in ours
        if name not in taken
        and name not in unfit
        and all(not start or starts_with(name, start) for start in spared)
        and not any(start and starts_with(name, start) for start in excluded)
    ]
    if (unfit or lacking) and not ignore_mismatch:
        raise LidError(
            f"{len(unfit) + len(lacking)} parameters do not fit, such as {(unfit or lacking)[0]}",
            where=source.path,
            mend="set --ignore_init_mismatch true to leave these as they are",
        )
    model.load_state_dict({**ours, **taken})
    logging.info("%d of %d tensors taken from %s", len(taken), len(ours), source.path)
    if their_languages is not None and by_language & taken.keys():
        describe_languages(languages, their_languages)


def read_weights(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Return the weights of a model file, a checkpoint or a plain state dict, and its labels if it has them.

    Raises:
        LidError: no such file, damaged, or it holds no weights.
    """
    content: Mapping[str, Any] = load(path)
    weights = content.get("model", content)
    languages = content.get("languages") or content.get("identity", {}).get("languages")
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise LidError("holds no weights by name", where=path, mend="name a .pth of a trained model")
    return dict(weights), None if languages is None else tuple(languages)


def rows_by_language(
    ours: Tensor, theirs: Tensor, languages: Sequence[str], their_languages: Sequence[str]
) -> Tensor | None:
    """Return ``ours`` with the rows of shared languages from ``theirs``; None if the two are of another make.

    Each language has the same number of rows, its sub-centres, beside each other.
    """
    if not theirs.ndim or theirs.shape[1:] != ours.shape[1:]:
        return None
    centres, rest = divmod(len(theirs), len(their_languages))
    if rest or centres * len(languages) != len(ours):
        return None
    mixed = ours.clone()
    places = {language: row for row, language in enumerate(their_languages)}
    for row, language in enumerate(languages):
        if language in places:
            start = places[language] * centres
            mixed[row * centres : (row + 1) * centres] = theirs[start : start + centres]
    return mixed


def describe_languages(languages: Sequence[str], their_languages: Sequence[str]) -> None:
    """Log which languages' rows were kept, which are new and which were left out."""
    here, there = set(languages), set(their_languages)
    for what, labels in (("kept", here & there), ("new", here - there), ("left out", there - here)):
        if labels:
            more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
            logging.info(
                "classifier: %d languages %s: %s%s", len(labels), what, " ".join(sorted(labels)[:SHOWN]), more
            )
