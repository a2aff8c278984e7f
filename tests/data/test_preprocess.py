"""The preprocessor's keys: ESPnet's forms, defaults, and that each augmentation does what it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import yaml
from pydantic import ValidationError

from lid_toolkit.data.preprocess import PreprocessorConf, Sounds, augment_wave, check_sounds, load_sounds
from lid_toolkit.errors import LidError

RATE = 16000
AS_IN_ESPNET = """
fix_duration: False
sample_rate: 16000
noise_apply_prob: 0.0
noise_info:
- [1.0, 'dump/raw/musan_speech.scp', [4, 7], [13, 20]]
- [1.0, 'dump/raw/musan_noise.scp', [1, 1], [0, 15]]
- [1.0, 'dump/raw/musan_music.scp', [1, 1], [5, 15]]
rir_apply_prob: 0.0
rir_scp: dump/raw/rirs.scp
short_noise_thres: 0.5
"""


def noise(samples=RATE, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(frequency, samples=RATE):
    return (0.1 * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)).astype(np.float32)


def augmented(wave, conf, sounds=None, seed=0):
    sounds = load_sounds(conf) if sounds is None else sounds
    return augment_wave(wave, conf, sounds, np.random.default_rng(seed))


@pytest.fixture
def lists(tmp_path):
    """Two kinds of noise that differ in pitch, and a room that is an echo."""
    for name, wave in {"low": tone(500, 40000), "high": tone(3000, 40000)}.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE, subtype="FLOAT")
        (tmp_path / f"{name}.scp").write_text(f"n1 {tmp_path / name}.wav\n")
    echo = np.zeros(900, np.float32)
    echo[[100, 500]] = 1.0, 0.5
    soundfile.write(tmp_path / "echo.wav", echo, RATE, subtype="FLOAT")
    (tmp_path / "rirs.scp").write_text(f"{tmp_path / 'echo.wav'}\n")
    return tmp_path


def power_at(wave, frequency):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    place = round(frequency * len(wave) / RATE)
    return spectrum[place - 3 : place + 4].sum()


def test_espnets_keys_are_taken_and_missing_lists_do_no_harm_where_nothing_is_applied():
    conf = PreprocessorConf(**yaml.safe_load(AS_IN_ESPNET))
    assert conf.noise_info[0] == (1.0, "dump/raw/musan_speech.scp", (4, 7), (13.0, 20.0))
    assert load_sounds(conf) == Sounds()
    assert np.array_equal(augmented(noise(), conf), noise())
    assert conf.crop_range_s() == (np.inf, np.inf)


def test_chances_left_out_are_1_with_lists_as_in_espnet_and_0_without():
    assert (PreprocessorConf().noise_prob(), PreprocessorConf().rir_prob()) == (0.0, 0.0)
    conf = PreprocessorConf(noise_scp="a", rir_scp="b")
    assert (conf.noise_prob(), conf.rir_prob()) == (1.0, 1.0)
    assert PreprocessorConf(noise_scp="a", noise_apply_prob=0.2).noise_prob() == 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("'13_15'", (13, 15)), ("'-3_4'", (-3, 4)), ("'10'", (10, 10)), ("[5, 30]", (5, 30))],
)
def test_ranges_of_noise_have_espnets_form_too(text, expected):
    assert PreprocessorConf(noise_db_range=yaml.safe_load(text)).noise_db_range == expected


@pytest.mark.parametrize(
    "keys",
    [
        {"noise_db_range": 310},  # YAML's reading of 3_10 without quotes
        {"noise_db_range": "30_5"},
        {"noise_db_range": "a_b"},
        {"noise_info": [[1.0, "a.scp", [0, 1], [5, 15]]]},
        {"noise_info": [[1.0, "a.scp", [1, 1]]]},
        {"noise_info": [[-1.0, "a.scp", [1, 1], [5, 15]]]},
        {"telephone_codecs": []},
        {"telephone_codecs": ["MP3"]},
        {"rir_apply_prob": 2},
    ],
)
def test_wrong_values_are_refused(keys):
    with pytest.raises(ValidationError):
        PreprocessorConf(**keys)


def test_no_target_is_no_crop():
    assert PreprocessorConf(target_duration=None).crop_range_s() == (np.inf, np.inf)
    assert PreprocessorConf(target_duration=[2, 4]).crop_range_s() == (2, 4)


@pytest.mark.parametrize("key", ["noise_scp", "rir_scp"])
def test_a_missing_list_is_told_with_what_to_do(key, tmp_path):
    conf = PreprocessorConf(**{key: str(tmp_path / "none.scp")})
    prob = key.replace("scp", "apply_prob")
    with pytest.raises(LidError, match=rf"none\.scp: does not exist.*preprocessor_conf\.{prob}: 0"):
        load_sounds(conf)


def test_a_list_that_is_still_to_be_made_is_not_missing(tmp_path, monkeypatch, lists):
    monkeypatch.chdir(tmp_path)
    conf = PreprocessorConf(rir_scp="dump/raw/later.scp", noise_scp=str(lists / "low.scp"))
    with pytest.raises(LidError, match=r"later\.scp: does not exist.*rir_apply_prob: 0"):
        check_sounds(conf)
    with pytest.raises(LidError, match="later"):
        check_sounds(conf, ["data/other.scp"])
    check_sounds(conf, ["data/later.scp"])
    (lists / "low.scp").write_text("n1 /no/such.wav\n")
    with pytest.raises(LidError, match=r"low\.scp: first recording: /no/such\.wav"):
        check_sounds(conf, ["data/later.scp", str(lists / "low.scp")])
    check_sounds(PreprocessorConf(rir_scp="dump/raw/later.scp", rir_apply_prob=0.0))


def test_a_list_of_no_weight_is_not_asked_for(lists):
    info = [[0.0, "/no/such.scp", [1, 1], [5, 15]], [2.0, str(lists / "low.scp"), [1, 1], [5, 15]]]
    assert len(load_sounds(PreprocessorConf(noise_info=info)).noises) == 1


def test_recorded_noise_has_the_level_asked_for(lists):
    conf = PreprocessorConf(noise_scp=str(lists / "low.scp"), noise_db_range=(6, 6))
    added = augmented(noise(), conf).astype(np.float64) - noise()
    assert 10 * np.log10(np.mean(noise() ** 2) / np.mean(added**2)) == pytest.approx(6, abs=0.05)
    assert power_at(added, 500) > 1000 * power_at(added, 3000)


def test_kinds_of_noise_are_drawn_by_weight(lists):
    info = [[1.0, str(lists / "low.scp"), [1, 1], [0, 0]], [3.0, str(lists / "high.scp"), [1, 1], [0, 0]]]
    conf = PreprocessorConf(noise_info=info)
    sounds = load_sounds(conf)
    high = 0
    for seed in range(200):
        added = augmented(noise(4000), conf, sounds, seed) - noise(4000)
        high += power_at(added, 3000) > power_at(added, 500)
    assert 130 < high < 170  # 150 expected; 3.3 standard deviations


def test_babble_is_several_recordings_each_at_its_level(lists):
    info = [[1.0, str(lists / "low.scp"), [4, 4], [10, 10]]]
    conf = PreprocessorConf(noise_info=info)
    one, four = noise(8000), augmented(noise(8000), conf).astype(np.float64)
    single = PreprocessorConf(noise_info=[[1.0, str(lists / "low.scp"), [1, 1], [10, 10]]])
    assert np.mean((four - one) ** 2) != pytest.approx(
        np.mean((augmented(one, single).astype(np.float64) - one) ** 2), rel=0.05
    )


def test_a_recorded_room_is_heard_and_delays_nothing(lists):
    click = np.zeros(4000, np.float32)
    click[1000] = 0.5
    wet = augmented(click, PreprocessorConf(rir_scp=str(lists / "rirs.scp")))
    assert np.flatnonzero(np.abs(wet) > 0.05).tolist() == [1000, 1400]
    assert wet[1400] / wet[1000] == pytest.approx(0.5, rel=1e-3)


def test_a_line_has_one_of_the_codecs_named():
    wave = noise()
    narrow = augmented(wave, PreprocessorConf(telephone_apply_prob=1, telephone_codecs=["ULAW"]))
    spectrum = np.abs(np.fft.rfft(narrow)) ** 2
    assert spectrum[4300:].sum() < 1e-3 * spectrum[:3700].sum()


def test_chances_are_kept():
    conf = PreprocessorConf(volume_apply_prob=0.3)
    changed = sum(
        not np.array_equal(augmented(noise(50), conf, seed=seed), noise(50)) for seed in range(1000)
    )
    assert 250 < changed < 350
