"""The sets of VoxLingua107 made from listings: what is dropped or cannot be held out is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from local.voxlingua107.listing import FolderListing
from local.voxlingua107.tables import DEV, SELECTION, TRAIN, Sets, make_sets, report


def listing(code: str, *stems: str) -> FolderListing:
    """Return the listing of a language's folder; a stem is VIDEO__U__S0---START-END."""
    return FolderListing(
        Path("/corpus") / code, "\n".join(stems).encode(), np.full(len(stems), 5, np.float32), ()
    )


def stems(video: str, number: int) -> list[str]:
    return [f"{video}__U__S{i}---0000.000-0005.000" for i in range(number)]


def labels(sets: Sets, name: str) -> dict[str, int]:
    return {item.label: len(item) for item in sets.rows[name]}


def test_a_language_with_one_video_stays_in_training_and_is_listed():
    many = [stem for number in range(60) for stem in stems(f"video{number:02d}", 5)]
    sets = make_sets(
        [listing("fi", *many), listing("hu", *stems("only", 40))], [listing("fi", *stems("x", 3))]
    )
    assert labels(sets, TRAIN)["hun"] == 40
    assert set(labels(sets, SELECTION)) == {"fin"}
    assert labels(sets, TRAIN)["fin"] + labels(sets, SELECTION)["fin"] == 300
    assert f"no video of these languages could be held out for {SELECTION}: hun" in report(sets)


def test_dev_utterances_of_languages_that_are_not_trained_are_dropped_and_counted():
    many = [stem for number in range(60) for stem in stems(f"video{number:02d}", 5)]
    shared = stems("shared", 2)
    sets = make_sets(
        [listing("fi", *many), listing("hu", *shared)],
        [listing("fi", *stems("x", 3)), listing("hu", *shared), listing("sv", *stems("y", 4))],
    )
    # The only Hungarian files of train are in dev, so Hungarian is not trained, and not tested either.
    assert labels(sets, DEV) == {"fin": 3}
    assert set(labels(sets, TRAIN)) == {"fin"}
    assert [why for _, why in sets.dropped[TRAIN]] == ["in dev"] * 2
    assert [why for _, why in sets.dropped[DEV]] == ["language not in train"] * 6
    assert len({key for key, _ in sets.dropped[DEV]}) == 6
    assert "dropped: 6 (language not in train)" in report(sets)
    assert "dropped: 2 (in dev)" in report(sets)
