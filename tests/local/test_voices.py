"""Corpus voices, from small packages made here: voices apart, labels checked, one's own folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
from local_debs import build_deb, serve_debs
from local_sounds import spoken, tone

from lid_toolkit.audio.fingerprint import RATE
from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local.corpus import Utterance
from local.prompts.packages import PACKAGES as PROMPTS
from local.voices.packages import PACKAGES, recordings
from local.voices.prepare import own_recordings, prepare
from local.voices.split import SETS, split

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb, which makes the packages, is not here"
)
ESPEAK = {"eng": "en-us", "spa": "es", "fra": "fr", "ita": "it", "rus": "ru", "ces": "cs", "nld": "nl"}


def write(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".ALS":
        at_11k = np.interp(np.arange(0, len(wave), RATE / 11025), np.arange(len(wave)), wave)
        path.write_bytes(np.round(100 * at_11k + 128).astype(np.uint8).tobytes())
    elif path.suffix == ".gsm":
        soundfile.write(path, wave, RATE, format="RAW", subtype="GSM610")
    else:
        soundfile.write(path, wave, RATE)


FILES = {
    "drascula": {f"en/{n}.ALS": (f"now {n} and {n + 7} then", "en-us+f2") for n in range(1, 5)},
    "drascula-spanish": {f"es/{n}.ALS": (f"ahora {n} y {n + 7}", "es+f2") for n in range(1, 4)},
    "drascula-italian": {f"it/{n}.ALS": (f"now {n} and {n + 7} then", "en-us+f2") for n in range(1, 4)},
    "klettres-data": {
        "en_GB/alpha/a.ogg": ("the letter a is first", "en-us+m5"),
        "en/syllab/ba.ogg": ("the syllable is ba", "en-us+f4"),
        "hu/alpha/x.ogg": ("az x utolso betu", "hu+m1"),
    },
    "ktuberling-data": {
        "sr/hat.wav": ("sesir na glavi", "sr+m1"),
        "sr@latin/hat.wav": ("sesir na glavi", "sr+m1"),
        "hu/eye.opus": ("szem es orr", "hu+f3"),
        "hu/nose.ogg": ("nagy kalap van itt", "hu+f3"),
    },
    "tuxpaint-stamps-default": {
        "animals/cat_desc.ogg": ("a cat sits here", "en-us+m1"),
        "animals/cat_desc_fr.ogg": ("voici un grand chat", "fr+m1"),
        "animals/cat.ogg": ("miaow miaow miaow", "en-us+m1"),
    },
    "gcin-voice": {
        "ㄊㄢ3/3.ogg": ("tan tan tan tan", "cmn"),
        "ㄊㄢ3/5.ogg": ("ni hao ma, xie xie", "cmn+f2"),
    },
}
SOUNDS_LIKE_NONE = {"tuxpaint-stamps-default": "animals/dog_desc_ca.ogg"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for number, package in enumerate(PROMPTS):
        tree = folder / "trees" / package.name
        suffix = ".gsm" if "prompt-es" in package.name else ".wav"
        text = f"{1000 * number} {number} {10 * number + 3} 5"
        write(
            tree / package.root / f"menu/x{suffix}",
            spoken(text, f"{ESPEAK[package.language]}+m{number % 5 + 1}"),
        )
        build_deb(package.name, tree, folder)
    for package in PACKAGES:
        tree = folder / "trees" / package.name
        for name, (text, voice) in FILES[package.name].items():
            if name.endswith(".opus"):
                (tree / package.root / name).parent.mkdir(parents=True, exist_ok=True)
                path = tree / package.root / name
                soundfile.write(path, spoken(text, voice), RATE, format="OGG", subtype="OPUS")
            else:
                write(tree / package.root / name, spoken(text, voice))
        if package.name in SOUNDS_LIKE_NONE:
            write(tree / package.root / SOUNDS_LIKE_NONE[package.name], tone(440))
        build_deb(package.name, tree, folder)
    return folder


@pytest.fixture
def apt(served, tmp_path, monkeypatch):
    """The stand-in for apt-get; returns the folder it serves, a copy of this test's own."""
    return serve_debs(served, tmp_path, monkeypatch)


def speakers(data):
    return {name: set(read_table(data / name / "utt2spk").values()) for name in SETS}


@pytest.mark.usefixtures("apt")
def test_packages_become_sets_that_share_no_training_voice(tmp_path, capsys, caplog):
    data, corpus = tmp_path / "data", tmp_path / "voices"
    write(tmp_path / "own/hu/words/alma.ogg", spoken("ez egy piros alma", "hu+m4"))
    arguments = (data, corpus, tmp_path / "prompts", tmp_path / "own", 2)
    prepare(*arguments, dry_run=True)
    assert not data.exists()
    assert not corpus.exists()
    prepare(*arguments, dry_run=False)
    found = speakers(data)
    assert not found["train_voices"] & (found["dev_voices"] | found["test_voices"])
    labels = {name: set(read_table(data / name / "utt2lang").values()) for name in SETS}
    assert {"eng", "spa", "fra", "ita", "rus", "ces", "nld", "hun", "srp", "cmn"} == labels["train_voices"]
    assert labels["test_voices"] == {"eng", "spa", "fra", "ita", "hun", "cmn"}
    assert "eng-drascula-en" in found["train_voices"]
    assert not any("ita-drascula" in one for name in SETS for one in found[name])
    assert (
        "ita-drascula-it: source refused (3 of 3 recordings are the same as in eng-drascula-en)"
        in caplog.text
    )
    why = dict(read_table(corpus / "dropped"))
    assert why["cat-tuxpaint-ca-animals-dog"].startswith("tone")
    assert why["srp-ktuberling-sr@latin-hat"] == "duplicate (of srp-ktuberling-sr-hat)"
    assert "hun-own" in {speaker for name in SETS for speaker in found[name]}
    assert all(scan_dir(data / name).faults == () for name in SETS)
    assert "eng-drascula-en             train_voices       4" in capsys.readouterr().out
    caplog.set_level("INFO")
    prepare(*arguments, dry_run=False)
    assert "prepare voices: current, skipped" in caplog.text


@pytest.mark.usefixtures("apt")
def test_a_changed_package_is_named(apt, tmp_path):
    deb = next(apt.glob("klettres*.deb"))
    deb.unlink()
    build_deb("klettres-data", tmp_path / "empty", apt)
    with pytest.raises(LidError, match="contains no recordings in usr/share/klettres"):
        prepare(tmp_path / "data", tmp_path / "voices", tmp_path / "prompts", None, 1, dry_run=False)
    assert not (tmp_path / "data/train_voices").exists()


def test_an_own_folder_that_is_no_language_is_named(tmp_path):
    write(tmp_path / "klingonese/a.wav", tone(440))
    with pytest.raises(LidError, match="klingonese: unknown language 'klingonese'"):
        list(own_recordings(tmp_path))


def test_sources_are_named_after_language_package_and_voice(tmp_path):
    for package in PACKAGES:
        for name in FILES[package.name]:
            path = tmp_path / package.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = {item.source for package in PACKAGES for item in recordings(package, tmp_path)}
    assert {
        "eng-klettres-en_GB",
        "eng-klettres-en",
        "srp-ktuberling-sr@latin",
        "cmn-gcin-3",
        "cmn-gcin-5",
    } <= found
    assert {"eng-tuxpaint-en", "fra-tuxpaint-fr"} <= found
    names = [item.name for item in recordings(PACKAGES[5], tmp_path)]
    assert names == ["animals/cat", "animals/cat"]


def test_the_split_is_by_source(tmp_path):
    def utterances(source, count, seconds):
        language = source.split("-")[0]
        return [Utterance(f"{source}-{n}", language, source, tmp_path, seconds) for n in range(count)]

    of_source = {
        source: utterances(source, count, seconds)
        for source, count, seconds in (
            ("eng-a", 5, 1.0),
            ("eng-b", 4, 1.0),
            ("eng-c", 3, 1.0),
            ("eng-d", 2, 1.0),
            ("deu-a", 5, 1.0),
            ("deu-b", 1, 9.0),
            ("fra-a", 3, 1.0),
            ("ita-a", 1, 1.0),
        )
    }
    everything = [utterance for members in of_source.values() for utterance in members]
    sources = {utterance.key: utterance.speaker for utterance in everything}
    sets = split(everything, sources)
    counts = {
        name: {source: sum(u.speaker == source for u in sets[name]) for source in of_source} for name in SETS
    }
    assert {s for s, n in counts["train_voices"].items() if n} == {
        "eng-a",
        "eng-d",
        "deu-b",
        "fra-a",
        "ita-a",
    }
    assert {s: n for s, n in counts["test_voices"].items() if n} == {"eng-b": 4, "deu-a": 3}
    assert {s: n for s, n in counts["dev_voices"].items() if n} == {"eng-c": 3, "deu-a": 2}
    assert {u.key for u in split(everything[::-1], sources)["dev_voices"]} == {
        u.key for u in sets["dev_voices"]
    }
