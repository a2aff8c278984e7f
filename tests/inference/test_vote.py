"""Votes by hand, and of models that read real files."""

from __future__ import annotations

import numpy as np
import pytest

from lid_toolkit import LanguageIdentifier
from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.inference.prediction import Prediction
from lid_toolkit.inference.vote import Ballot, Voters, candidates, fused, posteriors_by_code, vote

CODES = ("deu", "fra")


def record(**scores: float) -> Prediction:
    return Prediction("ok", scores=scores, duration=2.0, speech_seconds=1.5, windows=1, vad="energy")


def voted(policy: DecisionPolicy, rule, **records: Prediction):
    return vote(records, decider(policy, CODES), rule)


def test_fused_posteriors_are_the_geometric_mean():
    found = voted(DecisionPolicy(), "fuse", A=record(deu=0.9, fra=0.1), B=record(fra=0.6, deu=0.4))
    deu, fra = np.sqrt(0.9 * 0.4), np.sqrt(0.1 * 0.6)
    assert found.answer.scores == pytest.approx({"deu": deu / (deu + fra), "fra": fra / (deu + fra)})
    assert (found.answer.status, found.answer.language, found.answer.name) == ("ok", "deu", "German")
    assert (found.answer.duration, found.answer.speech_seconds, found.answer.vad) == (2.0, 1.5, "energy")
    assert found.ballots == (Ballot("A", "deu", 0.9), Ballot("B", "fra", 0.6))
    assert found.as_dict()["models"][1] == {"model": "B", "language": "fra", "score": 0.6}


def test_labels_of_any_kind_are_compared_by_code_and_only_common_ones_fused():
    found = voted(DecisionPolicy(), "fuse", A=record(de=0.5, fr=0.3, it=0.2), B=record(German=0.7, fra=0.3))
    ratio = np.sqrt(0.5 / 0.3 * 0.7 / 0.3)
    assert found.answer.scores == pytest.approx({"deu": ratio / (1 + ratio), "fra": 1 / (1 + ratio)})
    assert posteriors_by_code({"de": 0.25, "deu": 0.5, "zz-x": 0.25}) == {"deu": 0.75, "zz-x": 0.25}


def test_agreement_is_required_between_the_answers_of_the_models():
    split = {"A": record(deu=0.99, fra=0.01), "B": record(deu=0.4, fra=0.6)}
    found = voted(DecisionPolicy(), "agree", **split)
    assert (found.answer.status, found.answer.language) == ("unknown", None)
    assert found.answer.reason == "the models disagree: deu (A), fra (B)"
    assert found.answer.scores["deu"] > 0.5
    assert voted(DecisionPolicy(fallback="fra"), "agree", **split).answer.language == "fra"
    same = voted(DecisionPolicy(), "agree", A=record(deu=0.9, fra=0.1), B=record(deu=0.6, fra=0.4))
    assert (same.answer.status, same.answer.language) == ("ok", "deu")


def test_a_language_that_only_one_model_knows_is_a_disagreement_but_no_candidate():
    records = {"A": record(deu=0.3, fra=0.1, ita=0.6), "B": record(deu=0.9, fra=0.1)}
    assert voted(DecisionPolicy(), "agree", **records).answer.status == "unknown"
    assert voted(DecisionPolicy(), "fuse", **records).answer.language == "deu"
    chosen = voted(DecisionPolicy(("German", "fra")), "agree", **records)
    assert (chosen.answer.language, chosen.ballots[0]) == ("deu", Ballot("A", "deu", pytest.approx(0.75)))


def test_a_record_without_scores_is_the_answer():
    without = Prediction("no_speech", reason="no speech was found")
    found = voted(DecisionPolicy(), "fuse", A=record(deu=0.9, fra=0.1), B=without)
    assert found.answer == without
    assert found.ballots == (Ballot("A", "deu", 0.9), Ballot("B", None, None))


def test_a_language_that_a_model_rules_out_is_ruled_out_and_scores_stay_finite():
    found = voted(DecisionPolicy(), "fuse", A=record(deu=1.0, fra=0.0), B=record(deu=0.2, fra=0.8))
    assert found.answer.scores == pytest.approx({"deu": 1.0, "fra": 0.0})


def test_candidates_are_all_languages_of_a_model_that_knows_them_or_the_common_ones():
    assert candidates([("de", "fr"), ("fra", "German", "spa")]) == ("fra", "deu", "spa")
    assert candidates([("de", "fr", "it"), ("fra", "German", "spa")]) == ("deu", "fra")
    with pytest.raises(LidError, match="the models have 1 languages in common"):
        candidates([("de", "fr"), ("fra", "spa")])
    with pytest.raises(LidError, match="a vote needs two or more"):
        Voters({})


def test_a_model_leaves_what_it_does_not_know_to_the_others():
    """It moves probability between the languages that it knows, but not to or from the others."""
    log_muc = np.log([[[0.5, 0.3, 0.2]], [[0.5, 0.3, 0.2]], [[0.01, 0.99, np.nan]]])
    within_c = np.cbrt([0.5**2 * 0.01, 0.3**2 * 0.99])
    expected_c = [*(0.8 * within_c / within_c.sum()), 0.2]
    np.testing.assert_allclose(np.exp(fused(log_muc)), [expected_c])


def test_each_group_that_the_same_models_know_keeps_its_posterior():
    guide_c = np.array([0.3, 0.1, 0.4, 0.15, 0.05])
    one_c, other_c = [0.6, 0.4, np.nan, np.nan, np.nan], [np.nan, np.nan, 0.1, 0.9, np.nan]
    found_c = np.exp(fused(np.log([[guide_c], [one_c], [other_c]])))[0]
    np.testing.assert_allclose([found_c[:2].sum(), found_c[2:4].sum(), found_c[4]], [0.4, 0.55, 0.05])
    np.testing.assert_allclose(found_c[0] / found_c[1], np.sqrt(3 * 0.6 / 0.4))


def test_without_a_model_that_knows_all_each_rules_out_what_it_lacks():
    log_muc = np.log([[[0.5, 0.5, np.nan]], [[np.nan, 0.5, 0.5]]])
    np.testing.assert_allclose(np.exp(fused(log_muc)), [[0, 1, 0]], atol=1e-9)


def test_models_that_read_files(model_file, speech):
    """Two calibrations of one model: the mean of the log posteriors has the mean of the scales."""
    files = sorted((speech / "wav").iterdir())[:4]
    models = {
        str(scale): LanguageIdentifier.from_pretrained(
            model_file, "cpu", policy=DecisionPolicy(("high", "low"), calibration=Calibration(scale))
        )
        for scale in (0.5, 1.0)
    }
    voters = Voters(models, policy=DecisionPolicy(min_seconds=0.0))
    assert voters.languages == ("high", "low", "middle")
    found = list(voters.identify(iter(files), vad="none", batch_size=2))
    expected = DecisionPolicy(calibration=Calibration(0.75), min_seconds=0.0)
    for own, alone in zip(found, models["1.0"].identify(files, policy=expected, vad="none"), strict=True):
        assert own.answer.language == alone.language
        assert own.answer.scores == pytest.approx(alone.scores, abs=1e-5)
        assert [ballot.language for ballot in own.ballots] == [alone.language] * 2
