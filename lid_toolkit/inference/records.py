"""From what was heard of an input to its record or its embedding.

Shapes: n clips of an input, c languages, d embedding.
"""

from __future__ import annotations

import numpy as np

from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import Decider
from lid_toolkit.inference.lookahead import Heard
from lid_toolkit.inference.prediction import Prediction, Segment, failed
from lid_toolkit.inference.segmentation import Segmenting, find_segments
from lid_toolkit.inference.speech import Floats


def record_of(heard: Heard, decides: Decider, top_k: int | None, segmenting: Segmenting | None) -> Prediction:
    """Return the record of an input; one that could not be used has the status ``failed``.

    Args:
        heard: the input, done.
        decides: the policy.
        top_k: number of labels in ``scores``; None for all.
        segmenting: how its parts by language are found; None if they were not asked for.
    """
    summary = heard.summary
    if heard.error is not None or summary is None:
        return failed(heard.error or LidError("not read"))
    duration, speech_seconds, vad = summary.duration, summary.speech_seconds, summary.vad
    early = decides.abstains(duration, speech_seconds, vad, summary.silent)
    if early is not None:
        return early
    try:
        scores_c = heard.scores_c()
    except LidError as error:
        return failed(error, duration)
    found: tuple[Segment, ...] = ()
    if segmenting is not None:
        found = find_segments(heard.spans_n, np.stack(heard.scores_n), summary, decides, segmenting)
    return decides.decide(scores_c, duration, speech_seconds, vad, len(heard.scores_n), found, top_k)


def embedding_of(heard: Heard) -> Floats:
    """Return the embedding (D,) of an input, of length 1.

    Raises:
        LidError: the input could not be used, or the embedding is not finite.
    """
    silent = None if heard.summary is None else heard.summary.silent
    if (error := heard.error or silent) is not None:
        raise error
    return heard.embedding_d()
