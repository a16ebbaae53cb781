"""A model on loopback: it asks for the tools of a script, one after the other, and keeps what the host sends it."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.hosts.model.conversation import Call, Declaration, Dialect, Json, Seen, fill


@dataclass
class Model:
    """What was asked of the model; `requests` are those that declare our tools."""

    dialect: Dialect
    script: Sequence[Call]
    url: str = ""
    requests: list[Json] = field(default_factory=list)
    others: list[tuple[str, Json]] = field(default_factory=list)

    @property
    def tools(self) -> list[Declaration]:
        """Our tools, as the host declared them last."""
        return self.dialect.tools(self.requests[-1]) if self.requests else []

    @property
    def answers(self) -> list[Seen]:
        """What the model has seen of our tools' answers."""
        return self.dialect.answers(self.requests[-1]) if self.requests else []

    def reply(self, path: str, body: Json) -> tuple[str, bytes]:
        """Answer a request as the script says; the answers that it carries tell how far the script is."""
        stream = bool(body.get("stream")) or "streamGenerateContent" in path
        if not self.dialect.speaks(path) or not self.dialect.tools(body):
            self.others.append((path, body))
            return self.dialect.encode(self.dialect.say("loopback"), stream=stream)
        self.requests.append(body)
        answers = self.answers
        if len(answers) >= len(self.script):
            return self.dialect.encode(self.dialect.say("The script is at its end."), stream=stream)
        call = self.script[len(answers)]
        call = replace(call, arguments=fill(call.arguments, answers))
        return self.dialect.encode(self.dialect.call(call, len(answers)), stream=stream)


@contextmanager
def serve(dialect: Dialect, script: Sequence[Call]) -> Iterator[Model]:
    """Serve a model on a free port."""
    model = Model(dialect, script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            self._send(*model.reply(self.path, json.loads(data or b"{}")))

        def do_GET(self) -> None:
            self._send("application/json", b'{"data": [], "models": []}')

        def do_HEAD(self) -> None:
            self._send("application/json", b"")

        def _send(self, content_type: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield model
        server.shutdown()
