"""The policy: what it accepts, the same file again, and values computed by hand."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from lid_toolkit.errors import LidError
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.inference.prediction import Prediction, Segment, english_name, failed

LABELS = ("deu", "eng", "fra", "zz")
LOGS_C = np.log([0.4, 0.3, 0.2, 0.1])


def posteriors(policy: DecisionPolicy, logs=LOGS_C) -> list[float]:
    return np.exp(decider(policy, LABELS).posteriors(logs[None])[0]).tolist()


def test_the_default_changes_nothing():
    assert posteriors(DecisionPolicy()) == pytest.approx([0.4, 0.3, 0.2, 0.1])
    prediction = decider(DecisionPolicy(), LABELS).decide(LOGS_C, 0.3)
    assert (prediction.status, prediction.language, prediction.name) == ("ok", "deu", "German")
    assert prediction.score == pytest.approx(0.4)
    assert prediction.margin == pytest.approx(0.1)
    assert list(prediction.scores) == list(LABELS)
    assert (prediction.reason, prediction.windows, prediction.vad) == (None, 1, "none")


def test_calibration_priors_and_candidates_in_this_order():
    """With scale 2, the squares of the posteriors count: 16, 9, 4 and 1 hundredths."""
    half = Calibration.temperature(0.5)
    assert posteriors(DecisionPolicy(calibration=half)) == pytest.approx([16 / 30, 9 / 30, 4 / 30, 1 / 30])
    with_bias = Calibration(2.0, {"French": math.log(4)})
    assert posteriors(DecisionPolicy(calibration=with_bias)) == pytest.approx(
        [16 / 42, 9 / 42, 16 / 42, 1 / 42]
    )
    # The priors are not scaled: 16 * 0.1, 9 * 0.5, 16 * 0.3 and 1 * 0.1.
    priors = DecisionPolicy(calibration=with_bias, priors={"de": 0.1, "en": 0.5, "fr": 0.3})
    assert posteriors(priors) == pytest.approx([1.6 / 11, 4.5 / 11, 4.8 / 11, 0.1 / 11])
    two = DecisionPolicy(("fr", "en"), calibration=with_bias, priors={"en": 0.5, "fr": 0.3})
    assert posteriors(two) == pytest.approx([0, 4.5 / 9.3, 4.8 / 9.3, 0])


def test_priors_divide_by_those_of_training():
    """0.4 * 0.25 / 0.7, and 0.25 / 0.1 for the others, which share what is left of 1."""
    policy = DecisionPolicy(training_priors={"deu": 0.7}, priors=dict.fromkeys(LABELS, 0.25))
    weights = np.array([0.4 / 0.7, 0.3 / 0.1, 0.2 / 0.1, 0.1 / 0.1])
    assert posteriors(policy) == pytest.approx(weights / weights.sum())
    rest = DecisionPolicy(("deu", "eng", "fra"), priors={"deu": 0.5})  # the other two candidates: 0.25 each
    weights = np.array([0.4 * 0.5, 0.3 * 0.25, 0.2 * 0.25, 0])
    assert posteriors(rest) == pytest.approx(weights / weights.sum())
    assert posteriors(DecisionPolicy(training_priors={"deu": 0.7})) == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_a_prior_of_zero_excludes_a_language():
    prediction = decider(DecisionPolicy(priors={"eng": 0.7, "fra": 0.3}), LABELS).decide(LOGS_C, 1.0)
    assert list(prediction.scores) == ["eng", "fra"]
    assert prediction.scores["eng"] == pytest.approx(0.21 / 0.27)
    one = decider(DecisionPolicy(("eng",)), LABELS).decide(LOGS_C, 1.0)
    assert (one.score, one.margin, dict(one.scores)) == (1.0, 1.0, {"eng": 1.0})
    with pytest.raises(LidError, match="priors: all candidates have a prior of 0"):
        decider(DecisionPolicy(("deu",), priors={"eng": 1.0}), LABELS)
    with pytest.raises(LidError, match="training_priors: the prior of a candidate is 0"):
        decider(DecisionPolicy(priors={"eng": 0.5}, training_priors={"eng": 0}), LABELS)
    not_chosen = DecisionPolicy(("deu",), priors={"eng": 0.5}, training_priors={"eng": 0})
    assert posteriors(not_chosen) == [1, 0, 0, 0]


def test_scores_too_low_are_unknown_but_stay():
    for limit in ({"min_score": 0.5}, {"min_margin": 0.15}):
        prediction = decider(DecisionPolicy(**limit), LABELS).decide(LOGS_C, 1.0, top_k=2)
        assert (prediction.status, prediction.language, prediction.name) == ("unknown", None, None)
        assert prediction.score == pytest.approx(0.4)
        assert list(prediction.scores) == ["deu", "eng"]
        assert next(iter(limit)) in prediction.reason
    reason = decider(DecisionPolicy(min_score=0.5), LABELS).decide(LOGS_C, 1.0).reason
    assert reason == "deu has a score of 0.400, below min_score (0.5)"


def test_a_fallback_is_named_instead_of_unknown_and_says_so():
    policy = DecisionPolicy(min_score=0.5, fallback="French")
    prediction = decider(policy, LABELS).decide(LOGS_C, 1.0)
    assert (prediction.status, prediction.language, prediction.name) == ("ok", "fra", "French")
    assert prediction.score == pytest.approx(0.2)
    assert prediction.margin == pytest.approx(0.1)
    assert prediction.reason == "fallback: deu has a score of 0.400, below min_score (0.5)"
    sure = decider(policy, LABELS).decide(np.log([0.9, 0.05, 0.03, 0.02]), 1.0)
    assert (sure.language, sure.reason) == ("deu", None)
    for case in ((0.2, None), (1.0, 0.0)):
        assert decider(policy, LABELS).decide(LOGS_C, *case).language is None
    elsewhere = decider(DecisionPolicy(("deu", "eng"), min_score=0.9, fallback="fra"), LABELS)
    assert elsewhere.decide(LOGS_C, 1.0).score == 0.0


def test_too_short_and_no_speech_need_no_scores():
    decides = decider(DecisionPolicy(min_speech_seconds=0.5), LABELS)
    short = decides.abstains(0.29, 0.0, "energy")
    assert (short.status, short.reason) == ("too_short", "lasts 0.29 s, less than min_seconds (0.3 s)")
    none = decides.abstains(5.0, 0.0, "silero")
    assert (none.status, none.reason, none.vad) == ("no_speech", "no speech was found", "silero")
    little = decides.abstains(5.0, 0.4, "silero")
    assert little.reason == "contains 0.4 s of speech, less than min_speech_seconds (0.5 s)"
    for speech in (0.5, None):
        assert decides.abstains(0.3, speech, "silero") is None
    assert decider(DecisionPolicy(), LABELS).abstains(5.0, 0.2, "silero") is None
    assert decider(DecisionPolicy(), LABELS).abstains(5.0, 0.19, "silero").status == "no_speech"
    any_speech = decider(DecisionPolicy(min_speech_seconds=0.0), LABELS)
    assert any_speech.abstains(5.0, 0.001, "silero") is None
    assert any_speech.abstains(5.0, 0.0, "silero").status == "no_speech"
    record = decides.decide(LOGS_C, 5.0, 0.0, "silero", windows=3)
    assert (record.status, record.score, dict(record.scores), record.windows) == ("no_speech", None, {}, 0)


def test_languages_that_the_model_does_not_know_or_may_mean_two():
    for policy, where in (
        (DecisionPolicy(("eng", "ita")), "languages"),
        (DecisionPolicy(priors={"ita": 0.5}), "priors"),
        (DecisionPolicy(calibration=Calibration(bias={"ita": 1})), "calibration.bias"),
        (DecisionPolicy(fallback="ita"), "fallback"),
    ):
        with pytest.raises(LidError, match=rf"^{where}: the model does not know 'ita'"):
            decider(policy, LABELS)
    with pytest.raises(LidError, match="'English' may be any of en, eng"):
        decider(DecisionPolicy(("English",)), ("en", "eng"))
    exact = decider(DecisionPolicy(("eng",)), ("en", "eng"))
    assert exact.decide(np.log([0.9, 0.1]), 1.0).language == "eng"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_score": 1.5}, r"min_score: must be a number of at least 0 and at most 1, not 1.5"),
        ({"min_margin": -0.1}, "min_margin: must be"),
        ({"min_seconds": -1}, "min_seconds: must be a number of at least 0, not -1"),
        ({"min_speech_seconds": math.nan}, "min_speech_seconds: must be a number of at least 0, not nan"),
        ({"min_seconds": "1"}, "min_seconds: must be a number"),
        ({"min_score": True}, "min_score: must be a number"),
        ({"candidates": "eng"}, "candidates: 'eng' is not a list"),
        ({"candidates": []}, "candidates: the list is empty"),
        ({"candidates": [False]}, "candidates: False is not a text .write it in quotes, such as 'no'"),
        ({"priors": {"eng": 0.7, "fra": 0.4}}, "priors: the sum is 1.1"),
        ({"priors": {"eng": -0.1}}, "priors.eng: must be a number"),
        ({"priors": {False: 0.1}}, "priors: False is not a text"),
        ({"priors": ["eng"]}, "priors: must be a mapping"),
        ({"fallback": 3}, "fallback: 3 is not a text"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature: must be a number"),
        ({"calibration": {"temperature": 2, "scale": 2}}, "temperature or scale, not both"),
        (
            {"calibration": {"scale": 0}},
            "calibration.scale: must be a number above 0 and at most 1000, not 0",
        ),
        ({"calibration": {"bias": {"eng": 1e6}}}, "calibration.bias.eng: must be a number"),
        ({"calibration": {"biases": {}}}, r"unknown key 'calibration.biases' \(did you mean 'bias'"),
        ({"min_scores": 1}, r"unknown key 'min_scores' \(did you mean 'min_score'"),
    ],
)
def test_values_that_are_not_valid(values, message):
    with pytest.raises(LidError, match=message):
        DecisionPolicy.from_mapping(values)
    with pytest.raises(LidError, match=r"^p\.yaml: "):
        DecisionPolicy.from_mapping(values, "p.yaml")


def test_a_file_gives_the_same_policy(tmp_path):
    path = tmp_path / "policy.yaml"
    every = DecisionPolicy(
        candidates=("eng", "fra"),
        priors={"eng": 0.7, "fra": 0.3},
        training_priors={"eng": 0.5},
        calibration=Calibration(0.5, {"eng": -0.25}),
        min_seconds=1.0,
        min_speech_seconds=0.5,
        min_score=0.4,
        min_margin=0.1,
        fallback="eng",
        unknown="und",
    )
    for policy in (DecisionPolicy(), every, DecisionPolicy(min_score=0.2)):
        policy.to_yaml(path)
        assert DecisionPolicy.from_yaml(path) == policy
        assert pickle.loads(pickle.dumps(policy)) == policy
    assert path.read_text() == "min_score: 0.2\n"
    path.write_text("calibration: {temperature: 2}\ncandidates: [de, English]\n")
    read = DecisionPolicy.from_yaml(path)
    assert (read.calibration.scale, read.candidates) == (0.5, ("de", "English"))
    path.write_text("min_score: [1\n")
    with pytest.raises(LidError, match=r"policy\.yaml: not YAML"):
        DecisionPolicy.from_yaml(path)


def test_a_record_is_plain_values():
    record = Prediction("ok", "deu", "German", 0.9, {"deu": 0.9}, segments=(Segment(0.0, 1.5, "deu", 0.8),))
    assert record.as_dict() == {
        "status": "ok",
        "language": "deu",
        "name": "German",
        "score": 0.9,
        "scores": {"deu": 0.9},
        "margin": None,
        "duration": None,
        "speech_seconds": None,
        "windows": 0,
        "segments": [{"start": 0.0, "end": 1.5, "language": "deu", "score": 0.8}],
        "reason": None,
        "vad": "none",
    }
    error = LidError("is broken", where="a.wav", mend="copy it again")
    assert failed(error, 2.0) == Prediction("failed", duration=2.0, reason="is broken (copy it again)")
    assert [english_name(label) for label in ("deu", "iw", "zz-klingon")] == ["German", "Hebrew", None]


def test_the_name_of_a_label_is_looked_up_once(monkeypatch):
    """The search for labels like an unknown one took an eighth of the time of ``lid identify``."""
    asked = []

    def code(label):
        asked.append(label)
        raise LidError("unknown")

    monkeypatch.setattr("lid_toolkit.languages.code", code)
    assert [english_name("zz-nowhere"), english_name("zz-nowhere")] == [None, None]
    assert asked == ["zz-nowhere"]
