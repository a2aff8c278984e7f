"""Labels of other toolkits: codes where there is one language for one label."""

from __future__ import annotations

from lid_toolkit.importers.labels import MappedLabels, map_labels


def test_labels_become_codes():
    theirs = ["en", "French", "jw", "iw", "zh-CN", "swh"]
    assert map_labels(theirs) == MappedLabels(("eng", "fra", "jav", "heb", "cmn", "swh"), ())


def test_unknown_labels_stay_and_are_listed():
    assert map_labels(["eng", "LABEL_1", "old  norse"]) == MappedLabels(
        ("eng", "LABEL_1", "old_norse"), ("LABEL_1", "old_norse")
    )


def test_labels_that_mean_one_language_all_stay():
    found = map_labels(["en-US", "en-GB", "fr-FR"])
    assert found == MappedLabels(("en-US", "en-GB", "fra"), ("en-US", "en-GB"))


def test_a_label_that_stays_is_no_code_of_another():
    """``he`` and ``iw`` are both Hebrew, so both stay."""
    assert map_labels(["iw", "he", "de"]).labels == ("iw", "he", "deu")
    found = map_labels(["heb", "iw", "de"])
    assert len(set(found.labels)) == 3
