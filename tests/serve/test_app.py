"""What the addresses of the server answer, and with which status."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from data.corpus import LANGUAGES, RATE, vowel
from serve.conftest import encoded, spoken

from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.serve import app as module


def plain(record):
    """Return a record as JSON gives it."""
    return json.loads(json.dumps(record.as_dict()))


def detail(answer) -> str:
    """Return the sentence of a refusal."""
    assert set(answer.json()) == {"detail"}
    assert "\n" not in answer.json()["detail"]
    return answer.json()["detail"]


@pytest.mark.parametrize("as_form", [True, False])
def test_answers_the_record_of_identify(client, lid, as_form):
    audio = spoken()
    body = {"files": {"file": ("a.wav", audio)}} if as_form else {"content": audio}
    answer = client.post("/identify", **body)
    assert answer.status_code == 200
    assert answer.json() == plain(lid.identify(audio))
    assert answer.json()["status"] == "ok"
    assert answer.headers["cache-control"] == "no-store"


def test_options_are_those_of_identify(client, lid):
    audio = spoken(3)
    query = "languages=low,high&prior=low=0.9&top_k=1&window=1&hop=0.5&vad=energy&min_score=0.2&fallback=high"
    policy = DecisionPolicy(("low", "high"), {"low": 0.9}, min_score=0.2, fallback="high")
    expected = lid.identify(audio, policy=policy, top_k=1, window=1, hop=0.5, vad="energy")
    assert client.post(f"/identify?{query}", content=audio).json() == plain(expected)
    assert expected.windows == 5


def test_segments_are_found_if_asked_for(client, lid):
    audio = spoken(4)
    record = client.post("/identify?segments=true&window=1", content=audio).json()
    assert record == plain(lid.identify(audio, segments=True, window=1))
    assert record["segments"]


def test_the_servers_policy_holds_unless_an_option_says_otherwise(client_of):
    client = client_of(DecisionPolicy(min_score=1.0, min_seconds=1.0))
    assert client.post("/identify", content=spoken()).json()["status"] == "unknown"
    assert client.post("/identify?min_score=0", content=spoken()).json()["status"] == "ok"
    assert client.post("/identify", content=spoken(0.9)).json()["status"] == "too_short"


def test_silence_is_a_record(client):
    record = client.post("/identify", content=encoded(np.zeros(RATE))).json()
    assert (record["status"], record["language"]) == ("no_speech", None)


def test_a_suffix_names_formats_without_a_header(client):
    encoded_law = bytes(np.random.default_rng(1).integers(0, 256, 8000, dtype=np.uint8))
    answer = client.post("/identify?vad=none", files={"file": ("a.ulaw", encoded_law)})
    assert (answer.status_code, answer.json()["duration"]) == (200, 1.0)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("languages=klingon", "klingon"),
        ("languages=,", "languages: the list is empty"),
        ("prior=low", "prior: 'low' is not LANGUAGE=PROBABILITY"),
        ("prior=low=2", "prior: '2' is not a number from 0 to 1"),
        ("top_k=0", "top_k: must be greater than or equal to 1, not '0'"),
        ("top_k=many", "top_k: must be a valid integer, unable to parse string as an integer, not 'many'"),
        ("window=nan", "window: must be a finite number, not 'nan'"),
        ("window=0.1", "window: must be greater than or equal to 0.5, not '0.1'"),
        ("window=10&hop=0.5", "hop: must be at least 1 s with these windows"),
        ("segments=true&hop=0.4", "hop: must be at least 0.5 s with these windows"),
        ("segments=perhaps", "segments: must be a valid boolean"),
        ("hop=1", "hop: has no effect without window (give window too)"),
        ("window=1&hop=2", "hop: must be above 0 s and at most window (1 s), not 2.0"),
        ("vad=mine", "vad: must be 'auto', 'silero', 'energy' or 'none', not 'mine'"),
        ("langauges=low", "unknown option 'langauges' (did you mean 'languages'?)"),
    ],
)
def test_a_wrong_option_is_named(client, query, sentence):
    answer = client.post(f"/identify?{query}", content=spoken(0.5))
    assert answer.status_code == 400
    assert sentence in detail(answer)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"content": b""}, 400, "no audio: send it as the body, or in the field 'file' of a form"),
        ({"files": {"other": ("a.wav", b"abc")}}, 400, "no audio"),
        ({"files": {"file": ("a.wav", b"")}}, 400, "no audio"),
        (
            {"files": [("file", ("a", b"1")), ("file", ("b", b"2"))]},
            400,
            "the form is broken: Too many files",
        ),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        (
            {"content": b"x" * 50, "headers": {"content-type": "multipart/form-data; boundary=y"}},
            400,
            "broken",
        ),
        ({"content": b"no audio " * 100}, 415, "cannot be decoded: Format not recognised"),
        ({"content": b"<!DOCTYPE html>" + b" " * 100}, 415, "it is html: download it again"),
        ({"content": spoken()[:20000]}, 422, "truncated: the header says"),
        ({"content": encoded(np.zeros(0))}, 422, "contains no samples"),
        ({"content": encoded(vowel(1), "FLAC")[:3000]}, 422, "the recording "),
    ],
)
def test_a_bad_upload_gets_one_clear_sentence(client, body, status, sentence):
    answer = client.post("/identify", **body)
    assert answer.status_code == status
    assert sentence in detail(answer)
    assert "tmp" not in detail(answer)


def test_limits_of_size_and_duration(client_of):
    client = client_of(max_bytes=1 << 20, max_seconds=2)
    blocks = (b"0" * 65536 for _ in range(17))
    for body in (b"0" * (1 << 20) + b"0", blocks):
        answer = client.post("/identify", content=body)
        assert answer.status_code == 413
        assert detail(answer) == "the upload is larger than 1 MiB: send a shorter recording"
    answer = client.post("/identify", content=spoken(2.1))
    assert answer.status_code == 413
    assert detail(answer) == "the recording lasts 2 s, longer than 2 s: send a shorter one"
    assert client.post("/identify", content=spoken(2.0)).status_code == 200


def test_other_hosts_and_pages_are_refused(client):
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/healthz", headers={"host": "[::1]:9"}).status_code == 200
    own = client.post("/identify", content=spoken(), headers={"origin": "http://localhost:8000"})
    assert own.status_code == 200
    for origin in ("http://evil.example", "http://localhost:1", "null"):
        other = client.post("/identify", content=spoken(), headers={"origin": origin})
        assert other.status_code == 403
        assert "open the server's own page" in detail(other)
        assert "access-control-allow-origin" not in other.headers


def test_languages_health_and_description(client):
    listed = client.get("/languages").json()
    assert [row["language"] for row in listed] == list(LANGUAGES)
    assert client.get("/healthz").json() == {"status": "ok", "requests": 0}
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) == {"/identify", "/languages", "/healthz"}
    names = {parameter["name"] for parameter in described["/identify"]["post"]["parameters"]}
    assert {"languages", "top_k", "window", "hop", "vad", "min_score"} <= names
    assert set(described["/identify"]["post"]["responses"]) == {"200", *map(str, module.REFUSALS)}
    assert client.get("/docs").status_code == 404


def test_a_fault_of_the_server_is_an_answer_and_the_next_request_is_served(client, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    with monkeypatch.context() as patch:
        patch.setattr(module, "answer", lambda *_: 1 / 0)
        answer = client.post("/identify", content=spoken())
    assert (answer.status_code, detail(answer)) == (500, "the server failed; its log says why")
    assert client.get("/healthz").json()["requests"] == 0
    assert client.post("/identify", content=spoken()).status_code == 200


def test_nothing_is_written_to_a_disk(client, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file was made")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "_TemporaryFileWrapper"):
        monkeypatch.setattr(f"tempfile.{name}", refuse)
    long = spoken(40)  # more than what Starlette keeps in memory
    assert len(long) > 1 << 20
    assert client.post("/identify", files={"file": ("a.wav", long)}).status_code == 200
