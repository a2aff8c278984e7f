"""Corpus prompts, from small packages made here and served by a stand-in for apt-get."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
from local_debs import build_deb, serve_debs
from local_sounds import noise, spoken, tone

from lid_toolkit.audio.fingerprint import RATE
from lid_toolkit.audio.reader import read_audio
from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local.corpus import Utterance
from local.debs import fetch, is_whole, unpack
from local.prompts.packages import PACKAGES, recordings
from local.prompts.prepare import prepare, speaker, split

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb, which makes the packages, is not here"
)
VOICES = {"eng": "en-us", "spa": "es", "fra": "fr", "ita": "it", "rus": "ru", "ces": "cs", "nld": "nl"}
SETS = ("train_prompts", "dev_prompts", "test_prompts")


def write(path, samples, suffix):
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".gsm":
        soundfile.write(path.with_suffix(suffix), samples, RATE, format="RAW", subtype="GSM610")
    else:
        soundfile.write(path.with_suffix(suffix), samples, RATE)


def build(package, number, folder):
    """Make a package with ten prompts, and with what is to be dropped."""
    tree = folder / "trees" / package.name
    root = tree / package.root
    suffix = ".gsm" if "prompt-es" in package.name or "armelle" in package.name else ".wav"
    suffix = ".ogg" if "fillets" in package.name else suffix
    for index in range(10):
        text = f"{1000 * number + 17 * index} {number} {10 * index + 3} 5 6"
        write(root / f"menu/p-m-{index}", spoken(text, f"{VOICES[package.language]}+m3"), suffix)
    write(root / "beep", tone(440), suffix)
    write(root / "chime", tone(440, 550), suffix)
    write(root / "hiss", noise(), suffix)
    write(root / "silence/2", np.zeros(2 * RATE, np.float32), suffix)
    write(root / "short", spoken("hm"), suffix)
    write(root / "long", np.tile(spoken("one two three four five"), 20), suffix)
    write(root / "monkeys", spoken("hu hu ha ha hi hi hu ha", "en-us+f2"), suffix)
    write(
        root / "again",
        0.5 * spoken(f"{1000 * number} {number} 3 5 6", f"{VOICES[package.language]}+m3"),
        suffix,
    )
    (root.parent / "link").symlink_to(root.name)
    build_deb(package.name, tree, folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for number, package in enumerate(PACKAGES, start=1):
        build(package, number, folder)
    return folder


@pytest.fixture
def apt(served, tmp_path, monkeypatch):
    """The stand-in for apt-get; returns the folder it serves, a copy of this test's own."""
    return serve_debs(served, tmp_path, monkeypatch)


def dropped(corpus_dir):
    return dict(read_table(corpus_dir / "dropped"))


@pytest.mark.usefixtures("apt")
def test_packages_become_sets(tmp_path, capsys):
    data, corpus = tmp_path / "dätä", tmp_path / "a b"
    prepare(data, corpus, 2, dry_run=False)
    labels = {set_: dict(read_table(data / set_ / "utt2lang")) for set_ in SETS}
    speakers = {set_: set(read_table(data / set_ / "utt2spk").values()) for set_ in SETS}
    assert sum(len(labels[set_]) for set_ in SETS) == 10 * len(PACKAGES)
    assert set(labels["train_prompts"].values()) == set(VOICES)
    assert speakers["test_prompts"] == {"spa-colombia", "fra-armelle", "ita-menardi"}
    assert speakers["dev_prompts"] <= speakers["train_prompts"]
    assert not speakers["test_prompts"] & speakers["train_prompts"]
    assert len(labels["test_prompts"]) == 30
    for set_ in SETS:
        for key, ref in read_table(data / set_ / "wav.scp"):
            assert read_audio(ref)[1] == RATE, key
            assert not ref.endswith(".gsm")
    assert "train_prompts" in capsys.readouterr().out

    why = dropped(corpus)
    for key, reason in {
        "eng-allison-beep": "not speech (by name)",
        "eng-allison-silence-2": "not speech (by name)",
        "eng-allison-chime": "tone",
        "eng-allison-hiss": "noise",
        "eng-allison-short": "too short",
        "eng-allison-long": "too long",
        "eng-allison-monkeys": "in several languages",
        "rus-ivrvoice-monkeys": "in several languages",
        "eng-allison-menu-p-m-0": "duplicate (of eng-allison-again)",
        "ces-fillets-others-chime": "tone",
        "spa-colombia-chime": "tone",
    }.items():
        assert why[key].startswith(reason), key


def test_a_second_run_fetches_and_changes_nothing(apt, tmp_path, caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        prepare(tmp_path / "data", tmp_path / "corpus", 1, dry_run=False)
    assert len((apt / "calls").read_text().split()) == len(PACKAGES)
    assert "prepare prompts: current, skipped" in caplog.text


def test_a_dry_run_touches_nothing(apt, tmp_path):
    prepare(tmp_path / "data", tmp_path / "corpus", 1, dry_run=True)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "corpus").exists()
    assert not (apt / "calls").exists()


def test_what_is_there_is_kept_and_what_is_cut_off_is_fetched_again(apt, tmp_path):
    kept, cut = PACKAGES[0], PACKAGES[1]
    for package in (kept, cut):
        fetch(package.name, tmp_path)
    deb = tmp_path / f"{cut.name}_1_all.deb"
    whole = deb.read_bytes()
    deb.write_bytes(whole[:-1000])
    for package in (kept, cut):
        fetch(package.name, tmp_path)
    assert (apt / "calls").read_text().split() == [kept.name, cut.name, cut.name]
    assert deb.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.glob(".fetch-*")) == []


def test_a_package_cut_off_anywhere_is_not_whole(apt, tmp_path):
    whole = next(apt.glob("*.deb")).read_bytes()
    deb = tmp_path / "x.deb"
    for size in (0, 4, 8, 30, 68, 100, 133, len(whole) // 2, len(whole) - 1):
        deb.write_bytes(whole[:size])
        assert not is_whole(deb)
    deb.write_bytes(whole)
    assert is_whole(deb)


def test_a_package_that_apt_does_not_know_is_named(apt, tmp_path):
    (apt / f"{PACKAGES[0].name}_1_all.deb").unlink()
    with pytest.raises(LidError, match=r"Unable to locate package.*apt-get update"):
        fetch(PACKAGES[0].name, tmp_path / "debs")
    assert list((tmp_path / "debs").iterdir()) == []


def test_a_machine_without_apt_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LidError, match="apt-get is missing"):
        fetch(PACKAGES[0].name, tmp_path / "debs")


@pytest.mark.usefixtures("apt")
def test_lost_audio_comes_back(tmp_path):
    data, corpus = tmp_path / "data", tmp_path / "corpus"
    prepare(data, corpus, 1, dry_run=False)
    tables = {path: path.read_bytes() for path in data.glob("*_prompts/*")}
    lost = [next(corpus.glob(f"{place}/*/**/*-1.wav")) for place in ("unpacked", "wav")]
    for path in lost:
        path.unlink()
    prepare(data, corpus, 1, dry_run=False)
    assert all(path.exists() for path in lost)
    assert {path: path.read_bytes() for path in data.glob("*_prompts/*")} == tables


@pytest.mark.usefixtures("apt")
def test_a_machine_without_dpkg_is_told(tmp_path, monkeypatch):
    deb = fetch(PACKAGES[0].name, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(LidError, match="dpkg-deb is missing"):
        unpack(deb, tmp_path / "unpacked")


@pytest.mark.usefixtures("apt")
def test_a_damaged_package_is_named_and_leaves_nothing(tmp_path):
    deb = fetch(PACKAGES[0].name, tmp_path)
    content = bytearray(deb.read_bytes())
    start = content.index(b"data.tar") + 60
    content[start : start + 512] = b"\xff" * 512
    deb.write_bytes(content)
    with pytest.raises(LidError, match=r"cannot be unpacked.*delete it"):
        unpack(deb, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


@pytest.mark.usefixtures("apt")
def test_links_show_no_recording_twice(tmp_path):
    package = PACKAGES[0]
    tree = unpack(fetch(package.name, tmp_path), tmp_path / "unpacked")
    names = [name for name, _ in recordings(package, tree)]
    assert len(names) == len(set(names)) == 18
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("name", "who"),
    [("cave/cs/jes-m-potvora2", "m"), ("barrel/nl/bar_v_fotka", "v"), ("gods/cs/b2-10", "others")],
)
def test_the_game_tells_its_fishes(name, who):
    fillets = next(package for package in PACKAGES if package.voice == "fillets")
    assert speaker(fillets, name) == f"ces-fillets-{who}"


def test_the_split_is_by_id_alone_and_about_a_tenth(tmp_path):
    many = [Utterance(f"u{i}", "eng", "eng-allison", tmp_path / "x.wav", 1.0) for i in range(2000)]
    sets = split(many)
    assert 150 < len(sets["dev_prompts"]) < 250
    assert split(many[::-1])["dev_prompts"] == sets["dev_prompts"][::-1]
