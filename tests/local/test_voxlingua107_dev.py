"""VoxLingua107's dev set alone: from a loopback server or a folder to five folds, on made-up recordings."""

from __future__ import annotations

import io
import random
import zipfile

import numpy as np
import pytest
import soundfile
from local_web import serving

from lid_toolkit.datadir.tables.table import read_table
from lid_toolkit.errors import LidError
from local import fetch as fetching
from local.voxlingua107 import archives
from local.voxlingua107_dev.folds import FOLDS, assign_folds, choose_valid, sizes_of
from local.voxlingua107_dev.prepare import ALL, main

LANGUAGES = {"en": (9, "eng"), "iw": (6, "heb"), "no": (5, "nor"), "zh": (2, "cmn"), "hu": (1, "hun")}
"""Code -> number of videos, and label."""

SETS = ("train", "valid", "test")


def names(code: str) -> list[str]:
    """Return the file names of a language, two for its first videos and one for the others."""
    videos = [f"-{code}_a__U_{number}" for number in range(LANGUAGES[code][0])]
    starts = [
        (video, start) for number, video in enumerate(videos) for start in ((1, 7) if number < 2 else (3,))
    ]
    return [f"{video}__U__S1---{start:08.3f}-{start + 1:08.3f}" for video, start in starts]


def recording(seed: int, suffix: str) -> bytes:
    stream = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, 16000).astype(np.float32)
    soundfile.write(stream, samples, 16000, format=suffix)
    return stream.getvalue()


def lay(folder, suffix="wav"):
    """Write all recordings as a folder that somebody has unpacked."""
    for code in LANGUAGES:
        (folder / code).mkdir(parents=True)
        for seed, name in enumerate(names(code)):
            (folder / code / f"{name}.{suffix}").write_bytes(recording(seed, suffix))
    return folder


@pytest.fixture
def places(tmp_path):
    return tmp_path / "a corpus 語", tmp_path / "data"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The corpus's web server with ``dev.zip``."""
    monkeypatch.setattr(fetching, "WAITS_S", (0.01, 0.01))
    monkeypatch.setattr(archives, "parallel", lambda function, tasks, *_, **__: map(function, tasks))
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served/dev.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for code in LANGUAGES:
            for seed, name in enumerate(names(code)):
                target.writestr(f"{code}/{name}.wav", recording(seed, "wav"))
    with serving(tmp_path / "served") as running:
        yield running


def prepare(places, *options, url="http://nowhere.invalid/"):
    main(["--corpus_dir", str(places[0]), "--datadir", str(places[1]), "--url", url, "--nj", "1", *options])


def table(places, name, file="utt2lang"):
    return dict(read_table(places[1] / name / file))


def fold_set(part, fold):
    return f"{part}_voxlingua107_dev_fold{fold}"


def test_from_the_server_to_folds(server, places, capsys):
    server.drops["dev.zip"] = [3000]
    prepare(places, url=server.url)
    everything = table(places, ALL)
    assert len(everything) == sum(len(names(code)) for code in LANGUAGES)
    assert set(everything.values()) == {label for _, label in LANGUAGES.values()}
    assert everything[f"heb_{names('iw')[0]}"] == "heb"
    assert f"all_voxlingua107_dev{'':12}{len(everything):>7}" in capsys.readouterr().out
    asked = len(server.requests)
    prepare(places, url=server.url)
    assert len(server.requests) == asked


def test_a_zip_that_was_cut_off_is_completed(server, places):
    places[0].mkdir()
    whole = (server.folder / "dev.zip").read_bytes()
    (places[0] / "dev.zip").write_bytes(whole[:2000])
    prepare(places, url=server.url)
    assert (places[0] / "dev.zip").read_bytes() == whole
    assert [span for how, _, span in server.requests if how == "GET"] == ["2000"]


def test_an_extraction_that_was_killed_is_completed(server, places):
    prepare(places, url=server.url)
    before = table(places, ALL)
    gone = places[0] / "dev" / "en" / f"{names('en')[0]}.wav"
    gone.unlink()
    (places[0] / ".done/extracting_dev.zip").touch()
    prepare(places, url=server.url)
    assert gone.exists()
    assert table(places, ALL) == before


def test_each_clip_is_tested_once_and_no_video_is_in_two_sets(places):
    lay(places[0] / "dev")
    prepare(places)
    everything = table(places, ALL)
    tested = []
    for fold in range(1, FOLDS + 1):
        sets = {part: table(places, fold_set(part, fold), "utt2spk") for part in SETS}
        assert {key: video for part in SETS for key, video in sets[part].items()} == table(
            places, ALL, "utt2spk"
        )
        videos = [set(sets[part].values()) for part in SETS]
        assert not videos[0] & videos[1]
        assert not videos[0] & videos[2]
        assert not videos[1] & videos[2]
        trained = {everything[key] for key in sets["train"]}
        assert {everything[key] for key in sets["valid"]} <= trained
        assert {"eng", "heb", "nor"} <= trained & {everything[key] for key in sets["test"]}
        tested += list(sets["test"])
    assert sorted(tested) == sorted(everything)


def test_a_folder_of_flac_is_used_as_it_is_even_if_it_cannot_be_written(places):
    lay(places[0], "flac")
    places[0].chmod(0o555)
    try:
        prepare(places)
        assert not (places[0] / ".lock").exists()
    finally:
        places[0].chmod(0o755)
    first = next(iter(read_table(places[1] / ALL / "wav.scp")))[1]
    assert first.startswith(f"{places[0]}/")
    assert first.endswith(".flac")


def test_current_until_a_file_changes(places, caplog):
    caplog.set_level("INFO")
    lay(places[0])
    prepare(places)
    prepare(places)
    assert "tables of voxlingua107_dev: current, skipped" in caplog.text
    (places[0] / "hu" / f"{names('hu')[0]}.wav").unlink()
    prepare(places)
    assert f"hun_{names('hu')[0]}" not in table(places, ALL)


def test_a_dry_run_writes_and_asks_nothing(server, places, caplog):
    caplog.set_level("INFO")
    prepare(places, "--dry_run", "true", url=server.url)
    assert "download voxlingua107_dev: to do (dev.zip from" in caplog.text
    assert not server.requests
    assert not places[0].exists()
    assert not places[1].exists()


def test_a_clip_in_both_formats_is_refused(places):
    lay(places[0])
    name = names("en")[0]
    (places[0] / "en" / f"{name}.flac").write_bytes(recording(0, "flac"))
    with pytest.raises(LidError, match="the clip is also in"):
        prepare(places)


def test_broken_files_are_dropped_up_to_one_percent(places):
    lay(places[0])
    (places[0] / "en" / f"{names('en')[0]}.wav").write_bytes(b"RIFF")
    with pytest.raises(LidError, match=r"1 of .* files cannot be read, e.g. eng_-en_a__U_0__U__S1"):
        prepare(places)
    for number in range(100):
        (places[0] / "en" / f"-en_a__U_0__U__S2---{number:08.3f}-{number + 1:08.3f}.wav").write_bytes(
            recording(number, "wav")
        )
    prepare(places)
    assert list(table(places, ALL, "dropped")) == [f"eng_{names('en')[0]}"]


def test_a_folder_of_something_else_is_refused(places):
    (places[0] / "english").mkdir(parents=True)
    (places[0] / "dev").mkdir()
    with pytest.raises(LidError, match="cannot be reached"):
        prepare(places)


def made_up(seed: int = 0):
    """Return clips of languages with 1 to 40 videos of 1 to 4 clips."""
    draw = random.Random(seed)
    return [
        (f"l{language:02d}", f"v{language}-{video}")
        for language in range(12)
        for video in range(draw.choice((1, 2, 4, 5, 12, 40)))
        for _ in range(draw.randint(1, 4))
    ]


def test_folds_do_not_depend_on_the_order_of_the_clips():
    clips = made_up()
    shuffled = random.Random(1).sample(clips, len(clips))
    sizes, others = sizes_of(clips), sizes_of(shuffled)
    assert assign_folds(sizes) == assign_folds(others)
    for fold in range(1, FOLDS + 1):
        assert choose_valid(sizes, assign_folds(sizes), fold) == choose_valid(
            others, assign_folds(others), fold
        )


def test_folds_share_each_large_language_and_keep_small_ones_together():
    clips = made_up()
    sizes = sizes_of(clips)
    fold_of = assign_folds(sizes)
    for videos in sizes.values():
        counts = [
            sum(n for video, n in videos.items() if fold_of[video] == fold) for fold in range(1, FOLDS + 1)
        ]
        if len(videos) < FOLDS:
            assert sum(count > 0 for count in counts) == 1
        else:
            assert max(counts) - min(counts) <= max(videos.values())
            assert min(counts) > 0
    totals = [sum(fold_of[video] == fold for _, video in clips) for fold in range(1, FOLDS + 1)]
    assert max(totals) - min(totals) <= 8


def test_a_video_in_two_languages_is_in_one_fold_and_never_validates():
    clips = [(language, f"{language}{n}") for language in ("l1", "l2") for n in range(6)]
    clips += [("l1", "both"), ("l2", "both"), ("l3", "both"), ("l3", "own")]
    sizes = sizes_of(clips)
    fold_of = assign_folds(sizes)
    assert fold_of["own"] == fold_of["both"]
    for fold in range(1, FOLDS + 1):
        valid = choose_valid(sizes, fold_of, fold)
        assert valid
        assert "both" not in valid
        assert all(fold_of[video] != fold for video in valid)
        assert sum(video.startswith("l1") for video in valid) == 1
