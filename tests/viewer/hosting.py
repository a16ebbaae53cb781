"""A host around the page: the official bridge in a real browser, and our server in memory behind it."""

import base64
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from PIL import Image

from dinox_mcp.backends.base import Capabilities
from dinox_mcp.detector import Detector
from dinox_mcp.server.app import build_server
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection
from dinox_mcp.viewer.page import URI
from tests.fakes import FakeBackend
from tests.viewer.scenes import photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

ANSWER = """(answer) => {
  window.answered = performance.timeOrigin + performance.now();
  return window.bridge.sendToolResult(answer);
}"""
HOST = Path(__file__).with_name("host.html")
EVERYTHING = Capabilities(
    answers=frozenset({"text prompts", "prompt-free detection", "examples"}),
    outputs=frozenset({"masks", "pose", "caption", "text"}),
)
CAN_ALL: Mapping[str, Any] = {
    name: {} for name in ("serverTools", "serverResources", "downloadFile", "message", "updateModelContext", "logging")
}


@dataclass
class Shown:
    """A page in its host: `frame` is the viewer, `page` the host around it."""

    page: "Page"
    frame: "Frame"
    result: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def seen(self) -> dict[str, Any]:
        """What the host was told: messages, context, files, sizes, modes."""
        return self.page.evaluate("window.seen")  # type: ignore[no-any-return]

    def text(self, selector: str) -> str:
        return self.frame.locator(selector).inner_text()  # type: ignore[no-any-return]

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture is on screen, while it is shown whole."""
        box = self.frame.locator("#canvas").bounding_box()
        width, height = self.result["image"]["width"], self.result["image"]["height"]
        scale = min(box["width"] / width, box["height"] / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + x * scale, top + y * scale

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour on screen at a point of the picture."""
        left, top = self.point(x, y)
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return shot.getpixel((round(left), round(top)))  # type: ignore[return-value]

    def until(self, truth: str) -> None:
        until(self.frame, truth)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.frame.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def until(page: "Frame | Page", truth: str) -> None:
    """Wait until an expression is true in a page, whose policy lets the page itself evaluate nothing."""
    deadline = time.monotonic() + 20
    while not page.evaluate(truth):
        assert time.monotonic() < deadline, truth
        page.wait_for_timeout(20)


@contextmanager
def showing(
    browser: "Browser",
    detections: Sequence[Detection],
    *,
    picture: bytes | None = None,
    include: tuple[str, ...] = (),
    capabilities: Mapping[str, Any] = CAN_ALL,
    context: dict[str, Any] | None = None,
    size: tuple[int, int] = (1100, 800),
    similar: Sequence[Detection] | None = None,
    able: Capabilities = EVERYTHING,
    answer: dict[str, Any] | None = None,
    ask: tuple[str, dict[str, Any]] | None = None,
    resources: Mapping[str, bytes] | None = None,
    **options: object,
) -> Iterator[Shown]:
    """Show what a backend finds in a picture, or answers to another tool that is asked.

    `answer` and `resources` stand for what the server would give.
    """
    backend = FakeBackend(detections, able=able)
    folder = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = folder.new_page()
    with start_blocking_portal() as portal, _connected(portal, backend) as client:
        # A host reads the page as any resource, and passes calls and reads on.
        given = {
            "image": "data:image/jpeg;base64," + base64.b64encode(picture or photo()).decode(),
            "include": list(include),
            "max_objects": 1000,
            "min_score": 0,
        }
        answer = answer or _call(portal, client, *(ask or ("detect_prompt_free", given)))
        html = _read(portal, client, URI)["contents"][0]["text"]
        if similar is not None:
            backend.answer = similar
        shown = Shown(page, page.main_frame, answer.get("structuredContent", {}))
        _watch(page, shown)

        def read(uri: str) -> dict[str, Any]:
            shown.read.append(uri)
            if uri in (resources or {}):
                return _contents(uri, (resources or {})[uri])
            return _read(portal, client, uri)

        def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            shown.called.append((name, arguments))
            return _call(portal, client, name, arguments)

        page.expose_function("readResource", read)
        page.expose_function("callTool", call)
        page.goto(HOST.as_uri())
        setup = {"html": html, "capabilities": dict(capabilities), "context": {"theme": "light"} | (context or {})}
        page.evaluate("(setup) => window.start(setup)", setup)
        page.evaluate("(given) => window.bridge.sendToolInput({ arguments: given })", {"prompts": ["thing"]})
        page.evaluate(ANSWER, answer)
        shown.frame = page.frames[1]
        shown.until("document.getElementById('title').textContent !== 'Detection'")
        page.wait_for_load_state("networkidle")
        shown.settle()
        yield shown
        folder.close()
    assert shown.problems == []
    assert [url for url in shown.requests if url not in (HOST.as_uri(), "about:srcdoc")] == []


@contextmanager
def _connected(portal: BlockingPortal, backend: FakeBackend) -> Iterator[Client]:
    detector = Detector(Settings.load(backend=backend.name), backends=[backend])
    apps = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    connection = portal.wrap_async_context_manager(Client(build_server(detector), extensions=[apps]))
    client = connection.__enter__()
    try:
        yield client
    finally:
        # What fails in a test is shown as it is, not in a group of the connection's tasks.
        connection.__exit__(None, None, None)
        portal.call(detector.aclose)


def _call(portal: BlockingPortal, client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = portal.call(partial(client.call_tool, name, arguments))
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _read(portal: BlockingPortal, client: Client, uri: str) -> dict[str, Any]:
    return portal.call(client.read_resource, uri).model_dump(mode="json", by_alias=True, exclude_none=True)


def _contents(uri: str, data: bytes) -> dict[str, Any]:
    held = {"text": data.decode()} if data.startswith(b"{") else {"blob": base64.b64encode(data).decode()}
    return {"contents": [{"uri": uri, **held}]}


def _watch(page: "Page", shown: Shown) -> None:
    page.on("pageerror", lambda error: shown.problems.append(str(error)))
    page.on("console", lambda line: line.type in ("error", "warning") and shown.problems.append(line.text))
    page.on("request", lambda request: shown.requests.append(request.url))
