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
from hub.packed import NOWHERE, ROOT, answers, run_alone, settings

UPLOAD = str(ROOT / "pyscripts/upload_hf.py")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


def uploaded(folder: Path, package: Path, hub: Hub | None, *words: str, **environment: str):
    """Run stage 10's command with a token that may write, unless the environment has another."""
    usual = {"HF_ENDPOINT": hub.url if hub else NOWHERE, "HF_TOKEN": "hf_writer"}
    options = ("--package", str(package), "--hf_repo", "me/lid", *words)
    return run_alone(folder, UPLOAD, *options, **(usual | environment))


def large_files(package: Path) -> list[str]:
    """Return the checksums of a zip's large files."""
    with zipfile.ZipFile(package) as archive:
        names = [name for name in archive.namelist() if name.endswith((".safetensors", ".png"))]
        return sorted(digest(archive.read(name)) for name in names)


def test_there_and_back_is_the_same_from_everywhere(hub, model, package, speech, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(alone / "folder")
        names = archive.namelist()
    done = uploaded(alone, package, hub)
    assert done.returncode == 0, done.stderr
    assert "HTTP Request" not in done.stderr
    assert hub.created == [{"name": "lid", "organization": "me", "visibility": "private"}]
    assert sorted(hub.repositories["me/lid"].files) == sorted(names)
    assert sorted(hub.sent) == large_files(package)

    sources = (model.parent, model, package, alone / "folder", "me/lid")
    first, *others = answers(alone, speech, *sources, HF_ENDPOINT=hub.url, HF_TOKEN="hf_reader")
    assert len(first[1]) == 3
    assert others == [first] * 4

    assert answers(alone, speech, "me/lid") == [first]  # from the cache, without network


def test_a_second_upload_sends_nothing_and_a_changed_one_only_the_changes(hub, package, tmp_path):
    assert uploaded(tmp_path, package, hub, "--hf_private", "false").returncode == 0
    assert hub.created[0]["visibility"] == "public"
    repository, sent = hub.repositories["me/lid"], list(hub.sent)
    repository.private = True
    done = uploaded(tmp_path, package, hub)
    assert done.returncode == 0, done.stderr
    assert (hub.sent, len(repository.commits)) == (sent, 1)
    repository.files["results/old/results"] = b"of an earlier version"
    repository.files["notes.txt"] = b"the owner's own"
    repository.files["README.md"] += b"edited"
    assert uploaded(tmp_path, package, hub).returncode == 0
    assert hub.sent == sent
    changes = {line["key"]: line["value"]["path"] for line in repository.commits[1][1:]}
    assert changes == {"deletedFile": "results/old/results", "file": "README.md"}
    assert "notes.txt" in repository.files


def test_an_upload_that_was_killed_goes_on(hub, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        picture = archive.read("images/loss.png")
    hub.large[digest(picture)] = picture  # had arrived before
    hub.stalls = True
    environment = settings(tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN="hf_writer")
    command = [sys.executable, UPLOAD, "--package", str(package), "--hf_repo", "me/lid"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        assert hub.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    assert hub.sent == []
    hub.stalls = False
    done = uploaded(tmp_path, package, hub)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.sent) == sorted(set(large_files(package)) - {digest(picture)})


def test_a_connection_that_drops_is_tried_again(hub, package, tmp_path):
    hub.drops = 1
    done = uploaded(tmp_path, package, hub)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.sent) == large_files(package)


@pytest.mark.parametrize(
    ("fault", "environment", "message"),
    [
        (
            "",
            {"HF_TOKEN": ""},
            "me/lid: there is no token for the Hub (run `hf auth login`, or set HF_TOKEN)",
        ),
        ("", {"HF_TOKEN": "hf_no"}, "me/lid: the Hub answered 403: You don't have the rights"),
        ("expired", {}, "me/lid: the Hub answered 401: Invalid username or password."),
        ("refuses", {}, "me/lid: the Hub answered 403: no room"),
        ("", {"HF_ENDPOINT": NOWHERE}, "me/lid: the Hub cannot be reached: "),
    ],
)
def test_what_goes_wrong_is_one_line(fault, environment, message, hub, package, tmp_path):
    if fault == "refuses":
        hub.refuses = 403
    elif fault == "expired":
        hub.expired.add("hf_writer")
    done = uploaded(tmp_path, package, hub, **environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hf_repo", "me/lid/x"), "me/lid/x: the Hub takes no such name: "),
        (("--hf_repo", "me/l id"), "me/l id: the Hub takes no such name: "),
        (("--package", "none.zip"), "none.zip: no such file (run stage 9, or name another)"),
        (("--package", __file__), f"{__file__}: damaged, or no zip: "),
    ],
)
def test_bad_names_are_one_line(words, message, hub, package, tmp_path):
    done = uploaded(tmp_path, package, hub, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.stderr
    assert hub.created == []


def test_a_dry_run_shows_files_sizes_and_card(package, tmp_path):
    done = uploaded(tmp_path, package, None, "--dry_run", "true")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(package) as archive:
        for info in archive.infolist():
            assert f"{info.file_size:>14,}  {info.filename}\n" in done.stdout
        assert done.stdout.endswith(archive.read("README.md").decode())


@pytest.mark.parametrize(
    ("token", "name", "message"),
    [
        (
            "hf_reader",
            "me/none",
            "me/none: no such path here, and the Hub has no such repository that you may read",
        ),
        ("", "me/lid", "me/lid: no such path here, and the Hub has no such repository that you may read"),
        ("hf_reader", "me/lid@v9", "me/lid: no such path here, and the Hub answered 404: Invalid rev id"),
        ("hf_reader", "me/lid", "me/lid: a repository without meta.yaml (name a model of stage 10)"),
    ],
)
def test_repositories_that_cannot_be_loaded(token, name, message, hub, tmp_path):
    hub.repositories["me/lid"] = Repository(private=True, files={"README.md": b"empty"})
    source, _, revision = name.partition("@")
    load = (
        "from lid_toolkit.cli import run; from lid_toolkit import LanguageIdentifier\n"
        f"run(lambda _: LanguageIdentifier.from_pretrained({source!r}, revision={revision or None!r}))"
    )
    done = run_alone(tmp_path, "-c", load, HF_ENDPOINT=hub.url, HF_TOKEN=token)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]
