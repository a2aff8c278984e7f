"""What sets have in common is named, with where it is in both."""

from datadir.directories import PLAIN, SEGMENTED, write_files

from lid_toolkit.datadir.check import scan_dir
from lid_toolkit.datadir.overlap import shared_recordings, shared_speakers, unknown_labels


def test_a_test_set_is_compared_with_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = {**PLAIN, "wav.scp": f"a x/../a.wav\nb {tmp_path}//b.wav\nc c.ark:7\n"}
    test = {"wav.scp": "d a.wav\ne b.wav\nf c.ark:8\ng g.wav |\n", "utt2lang": "d eng\ne deu\nf eng\ng fra\n"}
    one, other = (
        scan_dir(write_files(tmp_path / "test", test)),
        scan_dir(write_files(tmp_path / "train", train)),
    )
    messages = [
        str(fault)
        for group in (*unknown_labels(one, other), *shared_recordings(one, other))
        for fault in group
    ]
    assert [message.removeprefix(f"{tmp_path}/test/") for message in messages] == [
        f"utt2lang:2: 'e': language 'deu' is not in {tmp_path}/train/utt2lang "
        "(remove its utterances, or add the language to training)",
        *(
            f"wav.scp:{line}: '{key}': this recording is also in {tmp_path}/train/wav.scp, as '{other}' "
            "(remove it from one of the sets)"
            for line, key, other in ((1, "d", "a"), (2, "e", "b"))
        ),
    ]
    valid = scan_dir(write_files(tmp_path / "valid", {"utt2lang": "x eng\ny fra\n"}))
    assert (
        unknown_labels(valid, other) == shared_recordings(valid, other) == shared_speakers(valid, other) == []
    )


def test_speakers_in_two_sets_are_named_once(tmp_path):
    one = scan_dir(write_files(tmp_path / "one", SEGMENTED))
    other = scan_dir(write_files(tmp_path / "other", {**PLAIN, "utt2spk": "a t\nb x\nc s\n"}))
    apart = scan_dir(write_files(tmp_path / "apart", {**PLAIN, "utt2spk": "a x\nb y\nc z\n"}))
    assert [str(fault) for group in shared_speakers(one, other) for fault in group] == [
        f"{tmp_path}/one/utt2spk:{line}: speaker '{name}' has {here} utterances here and 1 in "
        f"{tmp_path}/other/utt2spk (split the whole with split_data_dir.py --by speaker)"
        for line, name, here in ((1, "s", 2), (3, "t", 1))
    ]
    assert shared_speakers(one, apart) == []
