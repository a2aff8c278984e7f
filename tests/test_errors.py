"""The one line that users see."""

import pickle

import pytest

from lid_toolkit.audio.reader import AudioError
from lid_toolkit.errors import LidError, allowed_failures, nearest, reason_of


def test_line_has_place_fault_and_remedy():
    assert str(LidError("duplicate key", where="a:3", mend="remove one")) == "a:3: duplicate key (remove one)"
    assert str(LidError("no audio")) == "no audio"


def test_line_is_one_line():
    assert str(LidError("a\nb\t c", where="x\r\ny")) == "x y: a b c"


def test_nearest_names_one_or_all():
    assert nearest("adamm", ["adam", "sgd"]) == "did you mean 'adam'?"
    assert nearest("zzz", ["sgd", "adam"]) == "known: adam, sgd"
    assert nearest("zzz", ["sgd"], otherwise="see there") == "see there"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("acum_grad", "accum_grad"),
        ("trian_set", "train_set"),
        ("ndimm", "ndim"),
        ("rawnet", "rawnet3"),
        ("wamup_steps", "warmup_steps"),
        ("de", "deu"),
    ],
)
def test_a_typing_error_is_near(name, known):
    assert nearest(name, [known, "something_else"]) == f"did you mean '{known}'?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("speech_fold_length", "max_batch_length"),
        ("eval_valid_set", "valid_set_size"),
        ("save_every", "test_sets"),
        ("mean", "chn_attn_stat"),
        ("xvector", "ecapa_tdnn"),
        ("max_updates", "max_steps"),
    ],
)
def test_another_word_is_far(name, known):
    assert nearest(name, [known], otherwise="see there") == "see there"


def test_survives_the_way_between_processes():
    for kind in (LidError, AudioError):
        error = pickle.loads(pickle.dumps(kind("what", where="place", mend="so")))
        assert type(error) is kind
        assert (error.what, error.where, error.mend) == ("what", "place", "so")


def test_allowed_failures_round_up():
    assert allowed_failures(0.01, 30) == 1
    assert allowed_failures(0.01, 1000) == 10
    assert allowed_failures(0.01, 1001) == 11
    assert allowed_failures(0.0, 10**6) == 0


def test_a_recipe_names_the_stage_to_run_again():
    error = LidError("is missing", where="wav.scp", redo="formatting")
    assert str(error) == "wav.scp: is missing (run formatting again)"
    assert error.message({"formatting": "stage 3"}) == "wav.scp: is missing (run stage 3 again)"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory"), "does not exist"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("embedded null byte"), "embedded null byte"),
        (OSError(), "cannot be read"),
    ],
)
def test_why_a_file_cannot_be_opened(error, reason):
    assert reason_of(error) == reason
