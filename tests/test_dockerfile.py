"""The steps of the Dockerfile, without Docker: what they name exists, and they install a server that runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from inference.conftest import model_file
from serve.conftest import spoken

from lid_toolkit.commands.model import VARIABLE
from lid_toolkit.commands.serve import make_parser

__all__ = ["model_file"]

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
STEPS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]
NOT_REPLAYED = {"FROM", "WORKDIR", "USER", "EXPOSE"}


def arguments(instruction: str) -> list[str]:
    """Return what follows an instruction, for each line that has it."""
    return [rest for name, rest in STEPS if name == instruction]


def test_what_the_steps_name_exists():
    replayed = {"COPY", "RUN", "ENV", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in STEPS} == replayed | NOT_REPLAYED
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for rest in arguments("COPY"):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    assert [rest.partition("=")[0] for rest in arguments("ENV")] == [VARIABLE]
    assert arguments("USER") != ["root"]
    program, subcommand, *options = json.loads(arguments("CMD")[0])
    assert (program, subcommand) == ("lid", "serve")
    assert str(make_parser().parse_args(options).port) == arguments("EXPOSE")[0]


@pytest.mark.slow
def test_replayed_steps_install_a_server_that_answers(model_file, tmp_path):
    """The packages are those of this environment, so that nothing is downloaded."""
    app, environment = tmp_path / "app", tmp_path / "venv"
    for rest in arguments("COPY"):
        *sources, target = rest.split()
        for source in sources:
            copy = app / target / ("" if (ROOT / source).is_dir() else source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, copy)
    venv.create(environment, symlinks=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"])
    pip = environment / "bin/pip"
    pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    pip.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_EXTRA_INDEX_URL": "",
        VARIABLE: str(model_file),
    }
    for rest in arguments("RUN"):
        if not rest.startswith("useradd"):
            done = subprocess.run(
                ["sh", "-c", rest], cwd=app, env=variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
    assert (environment / "bin/lid").exists()
    command = [*json.loads(arguments("CMD")[0]), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = next(filter(None, (re.search(r"http://localhost:(\d+)", line) for line in server.stderr)))
            probe = json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
            probe[-1] = probe[-1].replace("8000", url[1])
            subprocess.run(probe, env=variables, timeout=60, check=True)
            with urlopen(Request(f"{url[0]}/identify", data=spoken()), timeout=60) as answer:
                assert json.load(answer)["status"] == "ok"
            with urlopen(url[0], timeout=60) as page:
                assert b"<title>Which language is spoken?</title>" in page.read()
        finally:
            server.terminate()
        assert server.wait(60) == 0
