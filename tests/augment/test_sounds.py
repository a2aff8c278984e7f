"""Lists of noise and rooms: what they may look like, what of a recording is taken, and faults in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lid_toolkit.augment.sounds import find_list, impulse_response, random_part, read_sounds
from lid_toolkit.errors import LidError

RATE = 16000
RAMP = np.arange(1, 1001, dtype=np.float32) / 2048


@pytest.fixture
def ramp(tmp_path):
    """A recording whose samples tell their place."""
    path = tmp_path / "my noise.wav"
    soundfile.write(path, RAMP, RATE, subtype="FLOAT")
    return str(path)


def part(ref, samples, short_share=0.0, seed=0, rate=RATE):
    return random_part(ref, samples, rate, short_share, np.random.default_rng(seed))


@pytest.mark.parametrize("line", ["{}", "n1 {}", "b {}\na {}", "\n{}\n\n"])
def test_a_list_has_keys_or_none(tmp_path, line):
    soundfile.write(tmp_path / "a.wav", RAMP, RATE)
    path = tmp_path / "list.scp"
    path.write_text(line.replace("{}", str(tmp_path / "a.wav")))
    table = read_sounds(path, "none")
    assert set(table.values()) == {str(tmp_path / "a.wav")}
    assert len(table) == (2 if line.startswith("b") else 1)


def test_paths_with_blanks_need_keys(tmp_path, ramp):
    path = tmp_path / "list.scp"
    path.write_text(f"n1 {ramp}\n")
    assert read_sounds(path, "none").value(0) == ramp


@pytest.mark.parametrize("asked", ["dump/raw/n.scp", "data/n.scp", "elsewhere/n.scp"])
@pytest.mark.parametrize("there", ["dump/raw/n.scp", "data/n.scp"])
def test_a_list_is_found_where_espnet_or_the_recipe_has_it(tmp_path, monkeypatch, ramp, asked, there):
    monkeypatch.chdir(tmp_path)
    Path(there).parent.mkdir(parents=True)
    Path(there).write_text(f"{ramp.replace(' ', '%')}\n")
    soundfile.write(ramp.replace(" ", "%"), RAMP, RATE)
    assert find_list(asked) == Path(there)
    assert len(read_sounds(asked, "none")) == 1


def test_a_list_under_its_own_path_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("data/n.scp", "dump/raw/n.scp", "n.scp"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    for path in ("data/n.scp", "dump/raw/n.scp", "n.scp"):
        assert find_list(path) == Path(path)
    assert find_list("other.scp") == Path("other.scp")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"list\.scp: does not exist; also looked in data and dump/raw \(do without\)"),
        ("", "empty"),
        ("a /no/such.wav\n", r"list\.scp: first recording: /no/such\.wav: does not exist"),
        ("a cat noise.wav |\n", "is a command"),
        ("\xff\n", "UTF-8"),
    ],
)
def test_faults_are_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "list.scp"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(LidError, match=message) as caught:
        read_sounds(path, "do without")
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_list(tmp_path):
    with pytest.raises(LidError, match="directory"):
        read_sounds(tmp_path, "do without")


@pytest.mark.parametrize("samples", [1, 999])
def test_a_part_comes_from_anywhere_in_a_longer_recording(ramp, samples):
    firsts = set()
    for seed in range(40):
        found = part(ramp, samples, seed=seed)
        first = round(float(found[0]) * 2048) - 1
        assert np.array_equal(found, RAMP[first : first + samples])
        firsts.add(first)
    assert len(firsts) > (1 if samples == 999 else 20)


def test_a_part_as_long_as_the_recording_is_all_of_it(ramp):
    assert np.array_equal(part(ramp, 1000), RAMP)


def test_a_recording_that_does_not_suffice_is_repeated(ramp):
    assert np.array_equal(part(ramp, 1999, short_share=0.5), np.concatenate((RAMP, RAMP[:999])))


def test_a_short_recording_comes_once_in_silence(ramp):
    starts = set()
    for seed in range(20):
        found = part(ramp, 2001, short_share=0.5, seed=seed)
        start = int(np.flatnonzero(found)[0])
        assert np.array_equal(found[start : start + 1000], RAMP)
        assert np.count_nonzero(found) == 1000
        starts.add(start)
    assert len(starts) > 10


@pytest.mark.parametrize("samples", [100, 5000])
def test_another_rate_is_converted(tmp_path, samples):
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", tone, 8000)
    found = part(str(tmp_path / "a.wav"), samples * 2)
    assert len(found) == samples * 2
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found)), 1 << 16))
    assert np.argmax(spectrum) * RATE / (1 << 16) == pytest.approx(440, abs=8)


def test_a_room_starts_with_its_direct_sound(tmp_path):
    response = np.zeros(3000, np.float32)
    response[[700, 900, 2000]] = 0.1, -0.8, 0.3
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    found = impulse_response(str(tmp_path / "room.wav"), RATE)
    assert np.array_equal(found, response[900:])
    assert np.argmax(impulse_response(str(tmp_path / "room.wav"), 8000)[100:]) + 100 == 550
