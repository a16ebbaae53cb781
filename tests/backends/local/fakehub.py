"""A small hub of models on loopback: repositories in memory, redirects, ranges, and faults on demand."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = (".safetensors", ".bin")
_CHUNK = 1 << 16


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class FakeHub:
    """Repositories by name, each a mapping of file names to bytes, and what goes wrong with them."""

    repositories: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    commit: str = COMMIT  # the only one, of all repositories
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers of large files break off
    status: int | None = None  # answered to everything
    stumbles: list[int] = field(default_factory=list)  # statuses that the next requests of large files get
    ignores_ranges: bool = False
    damages: bool = False
    seconds_a_chunk: float = 0
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def add(self, repo: str, files: Path | Mapping[str, bytes]) -> None:
        """Publish a repository: the files of a folder, or bytes by name."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
        self.repositories[repo] = files

    def downloads(self, ending: str) -> list[Request]:
        """List the requests for the bytes of large files."""
        return [
            one for one in self.requests if one.method == "GET" and one.path.endswith(ending) and "/cdn/" in one.path
        ]


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve on a free port of 127.0.0.1 from threads; `hub.url` says where."""

    class Bound(_Handler):
        fake = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.fake.requests.append(
            Request(self.command, path, self.headers.get("Range"), self.headers.get("Authorization"))
        )
        if self.fake.status:
            self._send(self.fake.status)
            return
        match path.strip("/").split("/"):
            case ["cdn", owner, name, file]:
                self._send_large(self.fake.repositories[f"{owner}/{name}"][file])
            case ["api", "models", owner, name, *rest]:
                self._describe(f"{owner}/{name}", rest)
            case [owner, name, "resolve", revision, *rest]:
                self._resolve(f"{owner}/{name}", revision, "/".join(rest))
            case _:
                self._send(404)

    def _describe(self, repo: str, rest: list[str]) -> None:
        if not self._known(repo, rest[1] if len(rest) > 1 else "main"):
            return
        files = self.fake.repositories[repo]
        if rest[:1] == ["tree"]:
            self._send(200, json.dumps([_tree_entry(name, content) for name, content in files.items()]).encode())
            return
        siblings = [_sibling(name, content) for name, content in files.items()]
        self._send(200, json.dumps({"id": repo, "sha": self.fake.commit, "siblings": siblings}).encode())

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if not self._known(repo, revision):
            return
        if repo in self.fake.gated and not self.headers.get("Authorization"):
            self._send(401, error="GatedRepo", message=f"Access to model {repo} is restricted.")
            return
        content = self.fake.repositories[repo].get(name)
        if content is None:
            self._send(404, error="EntryNotFound")
        elif name.endswith(LARGE):  # redirected to another host, which gets no token
            location = self.fake.url.replace("127.0.0.1", "localhost") + f"/cdn/{repo}/{name}"
            etag = hashlib.sha256(content).hexdigest()
            self._send(302, Location=location, X_Linked_ETag=f'"{etag}"', X_Linked_Size=str(len(content)))
        else:
            self._send(200, content, ETag=f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')

    def _known(self, repo: str, revision: str) -> bool:
        if repo not in self.fake.repositories:
            self._send(401, error="RepoNotFound", message="Repository not found")
        elif revision not in {"main", self.fake.commit}:
            self._send(404, error="RevisionNotFound", message=f"Invalid rev id: {revision}")
        else:
            return True
        return False

    def _send_large(self, content: bytes) -> None:
        if self.fake.stumbles:
            self._send(self.fake.stumbles.pop(0))
            return
        if self.fake.damages:
            content = bytes(len(content))
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        start = 0 if self.fake.ignores_ranges else start
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = start + self.fake.cuts.pop(0) if self.fake.cuts else len(content)
        try:
            for position in range(start, end, _CHUNK):
                self.wfile.write(content[position : min(position + _CHUNK, end)])
                time.sleep(self.fake.seconds_a_chunk)
        except OSError:  # the client left
            self.close_connection = True
        self.close_connection |= end < len(content)

    def _send(
        self, status: int, body: bytes = b"", *, error: str | None = None, message: str | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in {"X_Error_Code": error, "X_Error_Message": message, **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.send_header("X-Repo-Commit", self.fake.commit)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _sibling(name: str, content: bytes) -> dict[str, object]:
    """Describe a file as the hub does where its metadata is requested."""
    large = {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}}
    return {"rfilename": name, "size": len(content), **(large if name.endswith(LARGE) else {})}


def _tree_entry(name: str, content: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.md5(content).hexdigest() + "0" * 8}  # noqa: S324 - any 40 digits do
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry
