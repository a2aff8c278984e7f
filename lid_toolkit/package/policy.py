"""Replace the policy of a packed model, and change nothing else in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lid_toolkit.files import write_whole
from lid_toolkit.package.files import read_meta, sha256, unpacked
from lid_toolkit.package.format import META, POLICY
from lid_toolkit.package.write import to_yaml, write_zip


def replace_policy(package: Path, policy: Mapping[str, object]) -> None:
    """Write a policy into a packed model, in place of the one it has.

    Args:
        package: the zip, or the folder with its files. A zip is replaced at once; a folder is not valid
            while its two files are written.
        policy: content of ``policy.yaml``.

    Raises:
        LidError: not a packed model, damaged, or not safe to unpack.
    """
    if package.is_dir():
        _write(package, package, policy)
        return
    with unpacked(package) as folder:
        _write(folder, package, policy)
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        with write_whole(package, "wb") as stream:
            write_zip(stream, files)


def _write(folder: Path, package: Path, policy: Mapping[str, object]) -> None:
    meta = read_meta(folder, package)
    with write_whole(folder / POLICY) as stream:
        stream.write(to_yaml(dict(policy)))
    made = replace(meta, sha256={**meta.sha256, POLICY: sha256(folder / POLICY)})
    with write_whole(folder / META) as stream:
        stream.write(to_yaml(made.to_mapping()))
