"""Debian packages: fetch and unpack them without root."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lid_toolkit.errors import LidError


def fetch(name: str, folder: Path) -> Path:
    """Return a package's ``.deb`` in ``folder``. Downloads it if it is missing or truncated.

    Raises:
        LidError: apt-get is missing or does not find the package, or the download failed.
    """
    deb = find(name, folder)
    if deb is not None and is_whole(deb):
        return deb
    if deb is not None:
        logging.warning("%s is truncated: downloading it again", deb)
        deb.unlink()
    if shutil.which("apt-get") is None:
        raise LidError(
            "cannot be downloaded, because apt-get is missing",
            where=name,
            mend=f"use a Debian or Ubuntu machine, or copy the package's .deb file to {folder}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    logging.info("downloading %s", name)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        deb = _download(name, Path(scratch))
        return deb.replace(folder / deb.name)


def find(name: str, folder: Path) -> Path | None:
    """Return the newest ``.deb`` of a package in ``folder``, or None."""
    debs = folder.glob(f"{name}_*.deb")
    return max(debs, key=lambda deb: (deb.stat().st_mtime, deb.name), default=None)


def _download(name: str, scratch: Path) -> Path:
    done = subprocess.run(
        ["apt-get", "download", name],
        cwd=scratch,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    debs = sorted(scratch.glob("*.deb"))
    if done.returncode == 0 and len(debs) == 1 and is_whole(debs[0]):
        return debs[0]
    faults = [line[2:].strip() for line in done.stderr.splitlines() if line.startswith("E:")]
    raise LidError(
        f"apt-get download failed: {faults[0] if faults else f'exit code {done.returncode}'}",
        where=name,
        mend="check the network, run apt-get update as root, then run this again",
    )


def is_whole(deb: Path) -> bool:
    """Return whether a ``.deb``, which is an ``ar`` archive (deb(5), ar(5)), ends at the end of a member."""
    size = deb.stat().st_size
    with open(deb, "rb") as stream:
        if stream.read(8) != b"!<arch>\n":
            return False
        position = 8
        while position < size:
            header = stream.read(60)
            if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
                return False
            member = int(header[48:58])
            position += 60 + member + member % 2
            stream.seek(position)
    return position == size > 8


def unpack(deb: Path, folder: Path) -> Path:
    """Unpack a package to ``folder/NAME_VERSION_all``, replacing that folder, and return its path.

    The package is unpacked under another name first, so that the folder is always complete.

    Raises:
        LidError: dpkg-deb is missing, or the package is damaged.
    """
    target = folder / deb.stem
    if shutil.which("dpkg-deb") is None:
        raise LidError(
            "cannot be unpacked, because dpkg-deb is missing",
            where=deb,
            mend="use a Debian or Ubuntu machine",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as scratch:
        tree = Path(scratch) / "tree"
        done = subprocess.run(
            ["dpkg-deb", "--extract", str(deb), str(tree)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LidError(
                f"cannot be unpacked: {done.stderr.strip()}", where=deb, mend="delete it and run this again"
            )
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)
    return target
