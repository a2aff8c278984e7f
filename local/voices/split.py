"""Divide sources into sets so that dev and test have voices that the training set does not have."""

from __future__ import annotations

from collections.abc import Sequence

from local.corpus import Utterance, share

SETS = ("train_voices", "dev_voices", "test_voices")


def split(utterances: Sequence[Utterance], source_of: dict[str, str]) -> dict[str, list[Utterance]]:
    """Return the utterances of each set.

    The sources of a language are ranked by their hours. The first is for training. With three or more
    sources, the second is the test set's, the third is the dev set's, and the others are for training. With
    two, dev and test have half of the second each, by a hash of the id. With one, there is no dev or test.

    Args:
        utterances: all utterances.
        source_of: the source of each, by id.
    """
    seconds: dict[str, dict[str, float]] = {}
    for utterance in utterances:
        of_language = seconds.setdefault(utterance.language, {})
        source = source_of[utterance.key]
        of_language[source] = of_language.get(source, 0.0) + utterance.duration
    set_of: dict[str, str] = {}
    halved: set[str] = set()
    for of_language in seconds.values():
        ranked = sorted(of_language, key=lambda source: (-of_language[source], source))
        set_of |= dict.fromkeys(ranked, "train_voices")
        if len(ranked) == 2:
            halved.add(ranked[1])
        elif len(ranked) > 2:
            set_of |= {ranked[1]: "test_voices", ranked[2]: "dev_voices"}
    sets: dict[str, list[Utterance]] = {name: [] for name in SETS}
    shared: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        source = source_of[utterance.key]
        (shared.setdefault(source, []) if source in halved else sets[set_of[source]]).append(utterance)
    for members in shared.values():
        ordered = sorted(members, key=lambda utterance: (share(utterance.key), utterance.key))
        sets["test_voices"] += ordered[: (len(ordered) + 1) // 2]
        sets["dev_voices"] += ordered[(len(ordered) + 1) // 2 :]
    return sets
