"""A loopback server that speaks what the Hugging Face Hub's client says: create, upload, commit, download.

Routes and fields are those of huggingface_hub's own requests (``hf_api.py``, ``lfs.py``) and of the Git
LFS batch API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

LARGE = (".safetensors", ".png", ".onnx")
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_REPOSITORY = {"X-Error-Code": "RepoNotFound"}


@dataclass
class Repository:
    """A repository: its files' contents by name, and the commits so far."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The last commit's number, as 40 digits like a hash."""
        return f"{len(self.commits):040x}"


@dataclass
class Hub:
    """What the server knows, was asked, and gets wrong.

    Attributes:
        url: its address, without a slash at the end.
        writers: tokens that may write; others may not even read private repositories.
        readers: tokens that may read.
        expired: tokens that may no longer do anything.
        repositories: by ``user/repo``.
        large: contents of large files by checksum.
        created: what was asked for by each request to create a repository.
        sent: checksums of the large files whose content arrived whole.
        drops: how many of the next large files lose their connection half-way.
        refuses: a status that every large file is answered with.
        stalls: hold every large file half-way until ``stalled`` has been seen and the client is gone.
    """

    url: str = ""
    writers: set[str] = field(default_factory=lambda: {"hf_writer"})
    readers: set[str] = field(default_factory=lambda: {"hf_reader"})
    expired: set[str] = field(default_factory=set)
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    drops: int = 0
    refuses: int = 0
    stalls: bool = False
    stalled: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty Hub while the context lasts."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *request: Handler(hub, *request)) as http:
        http.daemon_threads = True
        hub.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            http.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers as its :class:`Hub` says."""

    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *request: Any) -> None:
        self.hub = hub
        super().__init__(*request)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if self.token in self.hub.expired:
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.token not in self.hub.writers:
            self.answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self.answer({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/(.+/.+)/preupload/main", path):
            self.say_how(self.hub.repositories[match[1]], json.loads(body)["files"])
        elif re.fullmatch(r"/(.+/.+)\.git/info/lfs/objects/batch", path):
            self.answer({"objects": [self.action(item) for item in json.loads(body)["objects"]]})
        elif path == "/verify":
            item = json.loads(body)
            self.answer({}, 200 if len(self.hub.large[item["oid"]]) == item["size"] else 422)
        elif match := re.fullmatch(r"/api/models/(.+/.+)/commit/main", path):
            self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer({"error": path}, 404)

    def create(self, wanted: dict[str, Any]) -> None:
        self.hub.created.append(wanted)
        name = f"{wanted['organization']}/{wanted['name']}"
        there = name in self.hub.repositories
        self.hub.repositories.setdefault(name, Repository(private=wanted["visibility"] == "private"))
        self.answer({"url": f"{self.hub.url}/{name}"}, 409 if there else 200)

    def say_how(self, repository: Repository, wanted: list[dict[str, Any]]) -> None:
        def how(name: str) -> dict[str, Any]:
            large = name.endswith(LARGE)
            content = repository.files.get(name)
            oid = None if content is None else digest(content) if large else blob(content)
            return {
                "path": name,
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
                "oid": oid,
            }

        self.answer({"files": [how(item["path"]) for item in wanted]})

    def action(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["oid"] in self.hub.large:
            return item
        actions = {
            "upload": {"href": f"{self.hub.url}/large/{item['oid']}"},
            "verify": {"href": f"{self.hub.url}/verify"},
        }
        return {**item, "actions": actions}

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        oid = self.path.rpartition("/")[2]
        if self.hub.stalls or self.hub.drops:
            self.hub.drops = max(self.hub.drops - 1, 0)
            self.rfile.read(size // 2)
            if self.hub.stalls:
                self.hub.stalled.set()
                self.rfile.read()  # until the client is gone
            self.close_connection = True
            return
        content = self.rfile.read(size)
        if self.hub.refuses:
            self.answer({"error": "no room"}, self.hub.refuses)
        elif digest(content) != oid:
            self.answer({"error": "checksum"}, 400)
        else:
            self.hub.large[oid] = content
            self.hub.sent.append(oid)
            self.answer({})

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.large[value["oid"]]
            else:
                del repository.files[value["path"]]
        repository.commits.append(lines)
        url = f"{self.hub.url}/{name}/commit/{repository.head}"
        self.answer({"success": True, "commitUrl": url, "commitOid": repository.head})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        match = re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)/?(.*))?", path
        )
        repository = self.hub.repositories.get(match[1]) if match else None
        if (
            match is None
            or repository is None
            or (repository.private and self.token not in self.hub.readers | self.hub.writers)
        ):
            self.answer({"error": "Repository not found"}, 404 if self.token else 401, NO_REPOSITORY)
        elif match[3] not in (None, "main", repository.head):
            self.answer({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif match[2] == "tree":
            self.answer([entry(name, content) for name, content in sorted(repository.files.items())])
        elif match[2] == "resolve":
            content = repository.files[match[4]]
            names = {"ETag": f'"{digest(content)}"', "X-Repo-Commit": repository.head}
            self.send(content, 200, names)
        else:
            self.answer({"id": match[1], "sha": repository.head, "private": repository.private})

    @property
    def token(self) -> str:
        """The token that came with the request."""
        return str(self.headers.get("Authorization", "")).removeprefix("Bearer ")

    def answer(self, content: Any, status: int = 200, headers: Mapping[str, str] = NOTHING) -> None:
        self.send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **headers})

    def send(self, content: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def digest(content: bytes) -> str:
    """Return a large file's name in Git LFS."""
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> str:
    """Return a small file's name in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(name: str, content: bytes) -> dict[str, Any]:
    """Return what the listing of a repository says of a file."""
    large = {"oid": digest(content), "size": len(content), "pointerSize": 134}
    return {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": blob(content),
        **({"lfs": large} if name.endswith(LARGE) else {}),
    }
