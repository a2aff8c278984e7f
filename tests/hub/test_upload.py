"""Stage 10 with the Hub's real client against a loopback server: there, back, twice, cut off, refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub.hub_server import Hub, Repository, digest, serving
from package.packed import NOWHERE, ROOT, answers, hub_settings, run_alone, settings, talk_to

from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier
from pyscripts.upload_hf import main

# The client's own, at each large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
UPLOAD = str(ROOT / "pyscripts/upload_hf.py")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub that the client of this process talks to, with a token that may write."""
    with serving() as server:
        talk_to(monkeypatch, tmp_path / "hf", server.url)
        yield server


def upload(package: Path, *words: str) -> None:
    """Run the upload command in this process."""
    main(["--package", str(package), "--hf_repo", "me/lid", *words])


def large_files(package: Path) -> list[str]:
    """Return the checksums of a zip's large files."""
    with zipfile.ZipFile(package) as archive:
        names = [name for name in archive.namelist() if name.endswith((".safetensors", ".png"))]
        return sorted(digest(archive.read(name)) for name in names)


def test_there_and_back_is_the_same_from_everywhere(hub, model, package, speech, tmp_path, monkeypatch):
    alone = tmp_path / "alone"
    alone.mkdir()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(alone / "folder")
        names = archive.namelist()
    words = (UPLOAD, "--package", str(package), "--hf_repo", "me/lid")
    done = run_alone(alone, *words, **hub_settings(alone / ".hf", hub.url))
    assert done.returncode == 0, done.stderr
    assert "HTTP Request" not in done.stderr
    assert hub.created == [{"name": "lid", "organization": "me", "visibility": "private"}]
    assert sorted(hub.repositories["me/lid"].files) == sorted(names)
    assert sorted(hub.sent) == large_files(package)

    sources = (model.parent, model, package, alone / "folder", "me/lid")
    first, *others = answers(alone, speech, *sources, HF_ENDPOINT=hub.url, HF_TOKEN="hf_reader")
    assert len(first[1]) == 3
    assert others == [first] * 4

    talk_to(monkeypatch, alone / ".hf", NOWHERE)
    cached = LanguageIdentifier.from_pretrained("me/lid", "cpu")
    assert list(cached.languages) == first[0]
    assert cached.identify(speech, vad="none").scores == pytest.approx(first[1], abs=1e-6)


def test_a_second_upload_sends_nothing_and_a_changed_one_only_the_changes(hub, package):
    upload(package, "--hf_private", "false")
    assert hub.created[0]["visibility"] == "public"
    repository, sent = hub.repositories["me/lid"], list(hub.sent)
    repository.private = True
    upload(package)
    assert (hub.sent, len(repository.commits)) == (sent, 1)
    repository.files["results/old/results"] = b"of an earlier version"
    repository.files["notes.txt"] = b"the owner's own"
    repository.files["README.md"] += b"edited"
    upload(package)
    assert hub.sent == sent
    changes = {line["key"]: line["value"]["path"] for line in repository.commits[1][1:]}
    assert changes == {"deletedFile": "results/old/results", "file": "README.md"}
    assert "notes.txt" in repository.files


def test_an_upload_that_was_killed_goes_on(hub, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        picture = archive.read("images/loss.png")
    hub.large[digest(picture)] = picture  # had arrived before
    hub.stalls = True
    environment = settings(tmp_path, **hub_settings(tmp_path / "hf", hub.url))
    command = [sys.executable, UPLOAD, "--package", str(package), "--hf_repo", "me/lid"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        assert hub.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    assert hub.sent == []
    hub.stalls = False
    upload(package)
    assert sorted(hub.sent) == sorted(set(large_files(package)) - {digest(picture)})


def test_a_connection_that_drops_is_tried_again(hub, package):
    hub.drops = 1
    upload(package)
    assert sorted(hub.sent) == large_files(package)


def one_line(fault: pytest.ExceptionInfo[LidError], capfd: pytest.CaptureFixture[str]) -> str:
    """Return the error line that a command would print, having checked that no thread printed one."""
    assert "Traceback" not in capfd.readouterr().err
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize(
    ("fault", "token", "message"),
    [
        ("", "", "no token for the Hub was found (run `hf auth login`, or set HF_TOKEN)"),
        ("", "hf_no", "the Hub answered 403: You don't have the rights"),
        ("expired", "hf_writer", "the Hub answered 401: Invalid username or password."),
        ("refuses", "hf_writer", "the Hub answered 403: no room"),
        ("nowhere", "hf_writer", "the Hub cannot be reached: "),
    ],
)
def test_what_goes_wrong_is_one_line(fault, token, message, hub, package, tmp_path, monkeypatch, capfd):
    talk_to(monkeypatch, tmp_path / "hf", NOWHERE if fault == "nowhere" else hub.url, token)
    if fault == "refuses":
        hub.refuses = 403
    elif fault == "expired":
        hub.expired.add(token)
    with pytest.raises(LidError) as caught:
        upload(package)
    assert one_line(caught, capfd).startswith(f"me/lid: {message}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hf_repo", "me/lid/x"), "me/lid/x: not a valid name for a repository: "),
        (("--hf_repo", "me/l id"), "me/l id: not a valid name for a repository: "),
        (
            ("--package", "none.zip"),
            "none.zip: does not exist (run packing again or give another file)",
        ),
        (("--package", __file__), f"{__file__}: damaged, or not a zip: "),
    ],
)
def test_bad_names_are_one_line(words, message, hub, package, capfd):
    with pytest.raises(LidError) as caught:
        upload(package, *words)
    assert one_line(caught, capfd).startswith(message)
    assert hub.created == []


def test_a_dry_run_shows_files_sizes_and_card(hub, package, capsys):
    upload(package, "--dry_run", "true")
    shown = capsys.readouterr().out
    with zipfile.ZipFile(package) as archive:
        for info in archive.infolist():
            assert f"{info.file_size:>14,}  {info.filename}\n" in shown
        assert shown.endswith(archive.read("README.md").decode())
    assert hub.created == []


NOT_TO_READ = "the Hub has no such repository, or you may not read it"


@pytest.mark.parametrize(
    ("token", "source", "revision", "message"),
    [
        ("hf_reader", "me/none", None, f"me/none: does not exist on this machine, and {NOT_TO_READ}"),
        ("", "me/lid", None, f"me/lid: does not exist on this machine, and {NOT_TO_READ}"),
        (
            "hf_reader",
            "me/lid",
            "v9",
            "me/lid: does not exist on this machine, and the Hub answered 404: Invalid rev id",
        ),
        (
            "hf_reader",
            "me/lid",
            None,
            "me/lid: the repository has no meta.yaml, hyperparams.yaml or config.json (give a repository",
        ),
    ],
)
def test_repositories_that_cannot_be_loaded(
    token, source, revision, message, hub, tmp_path, monkeypatch, capfd
):
    hub.repositories["me/lid"] = Repository(private=True, files={"README.md": b"empty"})
    talk_to(monkeypatch, tmp_path / "hf", hub.url, token)
    with pytest.raises(LidError) as caught:
        LanguageIdentifier.from_pretrained(source, revision=revision)
    assert one_line(caught, capfd).startswith(message)
