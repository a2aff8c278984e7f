"""Groups of utterances that err together: those of a speaker, a recording or a video.

Shapes: u utterances.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lid_toolkit.datadir.tables.table import Table, read_table, table_from_pairs
from lid_toolkit.errors import LidError

SPEAKERS, SEGMENTS = "utt2spk", "segments"


@dataclass(frozen=True)
class Clusters:
    """The cluster of each utterance.

    Attributes:
        source: what the clusters are, such as ``utt2spk``.
        of_u: (U,) number of each utterance's cluster, from 0.
        count: number of clusters.
    """

    source: str
    of_u: npt.NDArray[np.int64]
    count: int


def read_clusters(data_dir: Path, truth: Table, pattern: str | None = None) -> Clusters | None:
    """Return the clusters of a set's utterances; None if each utterance is a cluster of its own.

    The clusters are what ``pattern`` finds in the ids, if it is given; otherwise the speakers in
    ``utt2spk``; otherwise the recordings in ``segments``.

    Args:
        data_dir: the set.
        truth: its utterances.
        pattern: regular expression that is found in each id. The cluster is its first group, or all that it
            finds if it has no group: ``^(.*)__U__`` for VoxLingua107's videos.

    Raises:
        LidError: the pattern is not valid or not found in an id, or an utterance is not in the table.
    """
    if pattern is not None:
        return numbered("cluster_from", matched(truth, pattern))
    if (data_dir / SPEAKERS).exists():
        return numbered(SPEAKERS, selected(data_dir / SPEAKERS, truth))
    if (data_dir / SEGMENTS).exists():
        segments = selected(data_dir / SEGMENTS, truth)
        recordings = ((key, value.split(" ", 1)[0]) for key, value in segments)
        return numbered(SEGMENTS, table_from_pairs(recordings, data_dir / SEGMENTS))
    return None


def matched(truth: Table, pattern: str) -> Table:
    """Return what a regular expression finds in each id."""
    try:
        searched = re.compile(pattern)
    except re.error as error:
        raise LidError(f"'{pattern}' is not a regular expression: {error}", where="cluster_from") from None
    pairs = []
    for key, _ in truth:
        found = searched.search(key)
        text = found and (found.group(1) if searched.groups else found.group())
        if not text:
            raise LidError(f"'{pattern}' is not found in utterance '{key}'", where="cluster_from")
        pairs.append((key, text.strip() or "-"))
    return table_from_pairs(pairs, "cluster_from")


def selected(path: Path, truth: Table) -> Table:
    """Return the rows of a table for the utterances of ``truth``; LidError if one is missing."""
    table = read_table(path)
    if table.same_keys(truth):
        return table
    rows = table.rows(truth.keys())
    if len(missing := np.flatnonzero(rows < 0)):
        what = f"utterance '{truth.key(int(missing[0]))}' is missing"
        raise LidError(what, where=path, redo="formatting")
    return table.select(rows)


def numbered(source: str, table: Table) -> Clusters | None:
    """Return the values of a table as clusters; None if they are all different."""
    labels, codes_u = table.codes()
    if len(labels) == len(table):
        return None
    return Clusters(source, codes_u.astype(np.int64), len(labels))
