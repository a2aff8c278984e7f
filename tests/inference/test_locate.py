"""Where models come from: what is not there, or cannot be asked, is one line."""

from __future__ import annotations

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, LocalTokenNotFoundError
from package.packed import NOWHERE, run_alone

from lid_toolkit.errors import LidError
from lid_toolkit.inference.locate import explain, open_model

LOAD = "from lid_toolkit.cli import run; from lid_toolkit.inference.locate import open_model\n"


@pytest.mark.parametrize("name", ["exp/no/such", "none.zip", "none.pth", "a.b", "x/y.pth", "../x/y"])
def test_paths_that_are_not_there(name):
    with pytest.raises(LidError, match="does not exist"):
        open_model(name)


def test_only_repositories_have_revisions(model_file):
    with pytest.raises(LidError, match="only repositories on the Hub have revisions"):
        open_model(model_file, revision="v1")


def test_without_network(tmp_path):
    done = run_alone(tmp_path, "-c", f"{LOAD}run(lambda _: open_model('exp/lid_mine'))", HF_ENDPOINT=NOWHERE)
    assert done.returncode == 2
    assert (
        "error: exp/lid_mine: does not exist on this machine, and the Hub cannot be reached: " in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def answered(status: int, said: str | None = None) -> HfHubHTTPError:
    response = httpx2.Response(status, request=httpx2.Request("GET", "http://127.0.0.1/"))
    return HfHubHTTPError("long\ntext", response=response, server_message=said)


def wrapped(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "fault", "mend"),
    [
        (answered(500), "the Hub answered 500: long", "later"),
        (answered(401, "no"), "the Hub answered 401: no", "HF_TOKEN"),
        (answered(403, "no"), "the Hub answered 403: no", "use another repository"),
        (wrapped(RuntimeError("upload"), answered(403)), "the Hub answered 403", "use"),
        (
            wrapped(LocalEntryNotFoundError("x"), httpx2.ConnectError("refused")),
            "cannot be reached: refused",
            "network",
        ),
        (httpx2.ReadError(""), "cannot be reached: ReadError", "network"),
        (LocalTokenNotFoundError("x\ny"), "no token", "hf auth login"),
        (OSError(28, "No space left on device"), "No space left on device", "later"),
    ],
)
def test_errors_of_the_client_are_explained(error, fault, mend):
    what, how = explain(error)
    assert fault in what
    assert mend in how
    assert "\n" not in what
