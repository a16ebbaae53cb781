"""Files of many images, made on the spot, and a web server on loopback that sends them."""

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
from pyarrow import parquet


def tar(members: Mapping[str, bytes]) -> bytes:
    """Write a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def table(columns: Mapping[str, Any], **options: int | str | bool) -> bytes:
    """Write a Parquet file."""
    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), buffer, **options)
    return buffer.getvalue()


@dataclass
class Website:
    """A folder that is served: the URL of it, the host that settings may name, and the requests that were made."""

    url: str
    host: str
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder with index pages, and parts of files."""

    site: Website

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.site.requests.append((self.path, wanted))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        first, last = (int(number) for number in re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())  # type: ignore[union-attr]
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[Website]:
    """Serve a folder on loopback."""
    site = Website("", "")
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        site.host = f"127.0.0.1:{server.server_address[1]}"
        site.url = f"http://{site.host}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
