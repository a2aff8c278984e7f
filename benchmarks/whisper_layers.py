#!/usr/bin/env python3
"""What bounds a correction of Whisper: layers, pooling, silence, number of videos; prints Markdown tables.

    benchmarks/whisper_layers.py --whisper openai/whisper-base \
        --data_dir dump/voxlingua107_dev/raw/all_voxlingua107_dev

Stage 3 of ``./run.sh --corpus voxlingua107_dev`` writes the set. Every clip is heard once for each
``--silence``, and what all layers say is kept in ``--cache``. With the features that stage 4 extracts for the
correction (``dump/voxlingua107_dev/extracted/...``), nothing is heard, and there are the last layers alone.

A row is a choice of vectors. Its map is fitted by an exact solver (exact_correction.py) on the clips outside
each of five folds of videos, with the weight decay that is best in three folds of these clips. *Inner* is the
accuracy in those. It chooses the last row of the first table. All other columns are of the outer folds, which
choose nothing. Intervals are from drawing videos.

Shapes: u utterances, f outer folds, k languages of Whisper's, d features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from exact_correction import corrections
from numpy.typing import NDArray
from whisper_hearing import extracted, hear

from lid_toolkit.cli import OptionParser, run
from lid_toolkit.data.features import TABLE
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.evaluation.bootstrap import drawn_means, percentile_interval
from lid_toolkit.evaluation.clusters import Clusters
from lid_toolkit.evaluation.compare_many import markdown
from lid_toolkit.evaluation.proportions import clustered_proportion
from lid_toolkit.files import write_whole
from lid_toolkit.languages import code
from local.corpus import share
from local.voxlingua107_dev.folds import FOLDS, assign_folds, sizes_of

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Vectors = Mapping[str, Floats]
DECAYS = (1e-2, 3e-3, 1e-3, 3e-4)
INNER = 3
SHARES = (0.125, 0.25, 0.5, 1.0)
SALT = "whisper_layers "


@dataclass(frozen=True)
class Clips:
    """The clips of a set.

    Attributes:
        languages: labels.
        videos: names.
        true_u: columns of the languages in Whisper's posteriors.
    """

    languages: Sequence[str]
    videos: Sequence[str]
    true_u: Numbers

    def folds(self, rows: Numbers, count: int) -> Numbers:
        """Return the fold of some clips, from 1, as the corpus's recipe assigns them."""
        pairs = [(self.languages[row], self.videos[row]) for row in rows.tolist()]
        fold_of = assign_folds(sizes_of(pairs), count)
        return np.array([fold_of[video] for _, video in pairs])

    def clusters(self) -> Clusters:
        """Return the videos as clusters."""
        names, of_u = np.unique(self.videos, return_inverse=True)
        return Clusters("videos", of_u.astype(np.int64), len(names))

    def some(self, rows: Numbers, part: float) -> Numbers:
        """Return the clips of a part of the videos of each language, rounded up, in the order of a hash."""
        kept: set[str] = set()
        for videos in sizes_of((self.languages[row], self.videos[row]) for row in rows.tolist()).values():
            ordered = sorted(videos, key=lambda video: share(SALT + video))
            kept.update(ordered[: -int(-part * len(ordered) // 1)])
        return np.array([row for row in rows.tolist() if self.videos[row] in kept])


@dataclass(frozen=True)
class Tested:
    """Answers to all clips by maps that were fitted without their folds.

    Attributes:
        fold_u: outer fold of each clip, from 1.
        inner_f: accuracy in the inner folds; none for Whisper as it is.
        among_all_u: columns of the answers.
        among_present_u: the same, choosing among the languages of the set.
    """

    fold_u: Numbers
    inner_f: Sequence[float]
    among_all_u: Numbers
    among_present_u: Numbers


def main(arguments: Sequence[str]) -> None:
    """Hear the clips, fit and test all rows, and print the tables."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--whisper", default="openai/whisper-base", help="name on the Hub, or a folder")
    parser.add_argument(
        "--data_dir",
        type=Path,
        required=True,
        help="formatted set with utt2spk, or its features as extracted for conf/whisper_linear.yaml",
    )
    parser.add_argument(
        "--silence",
        nargs="+",
        default=["0.5+3"],
        help="seconds before and after a clip; 0.5+fill: up to 30 s; only the silence table has all of them",
    )
    parser.add_argument("--cache", type=Path, default=Path("exp/benchmarks/whisper_layers"), help="directory")
    parser.add_argument(
        "--json", type=Path, default=Path("exp/benchmarks/whisper_layers.json"), help="output file"
    )
    options = parser.parse_args(arguments)
    if (options.data_dir / TABLE).exists():
        heard = {"as extracted": extracted(options.data_dir)}
    else:
        heard = {
            name: hear(options.whisper, options.data_dir, name, options.cache) for name in options.silence
        }
    first = next(iter(heard.values()))
    clips = read_clips(options.data_dir, first.languages)
    rows = {name: nested(clips, first.posteriors_uk, each) for name, each in choices(first.vectors).items()}
    top = max(layers(first.vectors, "encoder"))
    recipe = (f"encoder {top} mean", f"decoder {max(layers(first.vectors, 'decoder'))}")
    tables = {
        "vectors": rows | {"chosen by the inner folds": chosen(rows)},
        "silence": {
            name: nested(clips, each.posteriors_uk, beside(each.vectors, recipe))
            for name, each in heard.items()
        },
        "part of the videos": {
            f"{part:g}": nested(clips, first.posteriors_uk, beside(first.vectors, recipe), part)
            for part in SHARES
        },
    }
    bare = {name: as_it_is(clips, each.posteriors_uk) for name, each in heard.items()}
    reports = {name: report(name, found, bare, clips) for name, found in tables.items()}
    print("\n\n".join(markdown(head, lines) for head, lines in reports.values()))
    with write_whole(options.json) as stream:
        json.dump(reports, stream, indent=1)


def read_clips(data_dir: Path, languages: Sequence[str]) -> Clips:
    """Read the languages and videos of a set, in the order of its ``wav.scp``."""
    truth, videos = (dict(read_table(data_dir / name)) for name in ("utt2lang", "utt2spk"))
    column = {label: place for place, label in enumerate(languages)}
    labels = [truth[key] for key in sorted(truth, key=str.encode)]
    return Clips(
        labels,
        [videos[key] for key in sorted(truth, key=str.encode)],
        np.array([column[code(label)] for label in labels]),
    )


def layers(vectors: Vectors, part: str) -> list[int]:
    """Return the numbers of the layers of the encoder or the decoder."""
    return sorted({int(name.split()[1]) for name in vectors if name.startswith(part)})


def beside(vectors: Vectors, names: Sequence[str]) -> Floats:
    """Return vectors side by side, (U, D)."""
    return np.concatenate([vectors[name] for name in names], axis=1)


def choices(vectors: Vectors) -> dict[str, Floats]:
    """Return the features (U, D) of each row of the first table, as far as there are such vectors."""
    *_, top = encoder = layers(vectors, "encoder")
    state = f"decoder {max(layers(vectors, 'decoder'))}"
    means, deviations = ([f"encoder {layer} {kind}" for layer in encoder] for kind in ("mean", "deviation"))
    last, spread = means[-1], deviations[-1]
    rows: dict[str, Sequence[str]] = {f"{name.removesuffix(' mean')}: mean": [name] for name in means}
    rows |= {f"{name.removesuffix(' deviation')}: deviation": [name] for name in deviations}
    rows |= {
        f"encoder {layer}: mean, deviation": pair
        for layer, *pair in zip(encoder, means, deviations, strict=True)
    }
    rows["all layers: mean"] = means
    rows["all layers: mean, deviation"] = means + deviations
    rows["decoder's state"] = [state]
    rows[f"encoder {top}: mean; state (the recipe)"] = [last, state]
    rows[f"encoder {top}: mean, deviation; state"] = [last, spread, state]
    rows["all layers: mean; state"] = [*means, state]
    several = len(means) > 1
    found = {
        row: beside(vectors, names)
        for row, names in rows.items()
        if all(name in vectors for name in names) and (several or not row.startswith("all"))
    }
    if several:
        found["sum of all layers: mean"] = np.mean([vectors[name] for name in means], axis=0)
    return found


def nested(clips: Clips, posteriors_uk: Floats, features_ud: Floats, part: float = 1.0) -> Tested:
    """Fit on the clips outside each outer fold, or on a part of their videos, and answer the fold."""
    everything = np.arange(len(clips.true_u))
    fold_u = clips.folds(everything, FOLDS)
    present_uk = among(clips, posteriors_uk)
    inner, all_u, present_u = [], np.zeros_like(clips.true_u), np.zeros_like(clips.true_u)
    for fold in range(1, FOLDS + 1):
        rows, test = clips.some(np.flatnonzero(fold_u != fold), part), np.flatnonzero(fold_u == fold)
        accuracies = inner_accuracies(clips, posteriors_uk, features_ud, rows)
        decay = max(accuracies, key=accuracies.__getitem__)
        inner.append(accuracies[decay])
        fitted = corrections(posteriors_uk[rows], features_ud[rows], clips.true_u[rows], (decay,))[decay]
        all_u[test] = fitted.answers(posteriors_uk[test], features_ud[test])
        present_u[test] = fitted.answers(present_uk[test], features_ud[test])
    return Tested(fold_u, inner, all_u, present_u)


def inner_accuracies(
    clips: Clips, posteriors_uk: Floats, features_ud: Floats, rows: Numbers
) -> dict[float, float]:
    """Return the accuracy of each weight decay, the largest first, in folds of the training clips."""
    inner_n, right = clips.folds(rows, INNER), dict.fromkeys(DECAYS, 0)
    for fold in range(1, INNER + 1):
        fit, test = rows[inner_n != fold], rows[inner_n == fold]
        found = corrections(posteriors_uk[fit], features_ud[fit], clips.true_u[fit], DECAYS)
        for decay, each in found.items():
            answers = each.answers(posteriors_uk[test], features_ud[test])
            right[decay] += int((answers == clips.true_u[test]).sum())
    return {decay: count / len(rows) for decay, count in right.items()}


def chosen(rows: Mapping[str, Tested]) -> Tested:
    """Return the answers of the row that is best in the inner folds, which may differ between outer folds."""
    found = list(rows.values())
    first = found[0]
    inner, all_u, present_u = [], first.among_all_u.copy(), first.among_present_u.copy()
    for place in range(FOLDS):
        best = max(found, key=lambda row: row.inner_f[place])
        test = first.fold_u == place + 1
        inner.append(best.inner_f[place])
        all_u[test], present_u[test] = best.among_all_u[test], best.among_present_u[test]
    return Tested(first.fold_u, inner, all_u, present_u)


def among(clips: Clips, posteriors_uk: Floats) -> Floats:
    """Return log posteriors with minus infinity for languages that the set does not have."""
    present_k = np.isin(np.arange(posteriors_uk.shape[1]), clips.true_u)
    return np.where(present_k, posteriors_uk, -np.inf)


def as_it_is(clips: Clips, posteriors_uk: Floats) -> Tested:
    """Return Whisper's own answers."""
    own = posteriors_uk.argmax(axis=1), among(clips, posteriors_uk).argmax(axis=1)
    return Tested(np.zeros_like(clips.true_u), (), *own)


def report(
    name: str, rows: Mapping[str, Tested], bare: Mapping[str, Tested], clips: Clips
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the head and the lines of a table; a difference is to Whisper as it is, with equal silence."""
    default = next(iter(bare.values()))
    head = (
        name,
        "inner",
        "all",
        "difference, points",
        "as it is",
        "present",
        "difference, points",
        "as it is",
    )
    lines = []
    for row, tested in rows.items():
        own = bare.get(row, default)
        cells = [row, f"{100 * float(np.mean(tested.inner_f)):.1f}"]
        for answers_u, own_u in (
            (tested.among_all_u, own.among_all_u),
            (tested.among_present_u, own.among_present_u),
        ):
            cells += compared(answers_u == clips.true_u, own_u == clips.true_u, clips.clusters())
        lines.append(tuple(cells))
    return head, lines


def compared(right_u: NDArray[np.bool_], own_u: NDArray[np.bool_], clusters: Clusters) -> list[str]:
    """Return an accuracy, its difference to another, both with intervals, and the other, in percent."""
    estimate, other = (clustered_proportion(each, clusters).estimate for each in (right_u, own_u))
    difference_u = right_u.astype(np.float64) - own_u
    value = float(difference_u.mean())
    low, high = percentile_interval(drawn_means(difference_u, clusters), value, clusters.count - 1)
    return [
        f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]",
        f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        f"{100 * other.value:.1f}",
    ]


if __name__ == "__main__":
    run(main)
