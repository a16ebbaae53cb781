"""The emulated service: its protocol, its limits, its books and its faults."""

import asyncio
import random
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.emulator.contract import faults_of
from tests.emulator.scene import describe, detect, match

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Stats:
    """The books of one key."""

    requests: int = 0
    creates: int = 0
    paid: int = 0
    polls: int = 0
    upload_bytes: int = 0
    times: list[float] = field(default_factory=list)

    def busiest_second(self) -> int:
        """Count the requests in the fullest second."""
        return max((sum(start <= other < start + 1 for other in self.times) for start in self.times), default=0)


@dataclass
class Faults:
    """Names of faults: `create` and `poll` hit the next requests in turn, `every_*` all others."""

    create: deque[str] = field(default_factory=deque)
    poll: deque[str] = field(default_factory=deque)
    every_create: str = ""
    every_poll: str = ""

    def next(self, kind: str) -> str:
        """Take the fault that hits the next request of a kind; empty for none."""
        queue: deque[str] = getattr(self, kind)
        return queue.popleft() if queue else getattr(self, f"every_{kind}")


@dataclass
class Task:
    """One paid task: when it is done, and the work that finds its result."""

    done_at: float
    fault: str
    work: asyncio.Future[dict[str, Any]]


class Emulator:
    """The service's state; configure it by its attributes at any time, also while it runs.

    `model_time` is seconds a task takes, or a range to draw from; `rate_limit` requests a second for each
    key, None for no limit; `strict` insists on a body by the contract and on an Idempotency-Key, which not every
    client of the service sends; `scene` answers a detection's body with what is found, `{"objects": […]}`.
    `asked` lists the endpoints of the tasks that were paid, and `last` is the body of the last request.

    Faults, by name: "500", "503:0.2" (an HTTP status, with a Retry-After), "400", "202001", "rate" and "quota"
    (in a 200), "bad-key", "html", "truncated", "hang", "drop" (before anything happened); and for create only,
    "drop-after" (the task exists, the reply is lost), "failed", "never", "malformed", "empty" (how the task
    ends), "instant" (the create reply has the result already), "bad-uuid"; for poll, "lost" (no such task).
    """

    def __init__(self) -> None:
        self.url = ""
        self.key = "emulator-key"
        self.reset()

    def reset(self) -> None:
        """Forget everything: books, tasks, faults, settings."""
        self.keys = {self.key}
        self.model_time: float | tuple[float, float] = 0.0
        self.rate_limit: int | None = 10
        self.strict = True
        self.scene: Callable[[dict[str, Any]], dict[str, Any]] = detect
        self.faults = Faults()
        self.last: dict[str, Any] = {}
        self.asked: list[str] = []
        self._stats: defaultdict[str, Stats] = defaultdict(Stats)
        self._tasks: dict[tuple[str, str], Task] = {}
        self._ids: dict[tuple[str, str], str] = {}

    def stats(self, key: str | None = None) -> Stats:
        """Show the books of a key, by default of `self.key`."""
        return self._stats[key or self.key]

    def finish(self) -> None:
        """Let every task be done now, whatever it should have taken."""
        for task in list(self._tasks.values()):
            task.done_at = 0.0

    def app(self) -> Starlette:
        """Make the ASGI application."""
        create = Route("/v2/task/{family}/{action}", self._create, methods=["POST"])
        return Starlette(routes=[create, Route("/v2/task_status/{uuid}", self._poll)])

    async def _create(self, request: Request) -> Response:
        key = request.headers.get("token", "")
        content = await request.body()
        books = self._stats[key]
        books.creates += 1
        books.upload_bytes += len(content)
        fault = self.faults.next("create")
        if refusal := await self._refuse(request, key, books, fault):
            return refusal
        body = await request.json()
        self.last = body
        idempotency_key = request.headers.get("idempotency-key", "" if self.strict else uuid4().hex)
        endpoint = "{family}/{action}".format(**request.path_params)
        wrong = [name for name in ("model", "image", "targets") if not body.get(name)]
        if self.strict and not wrong:
            wrong = await asyncio.to_thread(faults_of, endpoint, body)
        if wrong or not idempotency_key:
            return JSONResponse({"code": 400, "msg": "bad request", "errors": wrong or ["Idempotency-Key"]}, 400)
        uuid = self._ids.setdefault((key, idempotency_key), str(uuid4()))
        if (key, uuid) not in self._tasks:
            books.paid += 1
            self.asked.append(endpoint)
            self._tasks[key, uuid] = self._start(endpoint, body, fault)
        if fault == "drop-after":
            return _Dropped()
        if fault == "bad-uuid":
            return _ok({"task_uuid": "../../elsewhere"})
        if fault == "instant":
            return _ok({"task_uuid": uuid, "status": "success", "result": await self._tasks[key, uuid].work})
        return _ok({"task_uuid": uuid})

    async def _poll(self, request: Request) -> Response:
        key, uuid = request.headers.get("token", ""), request.path_params["uuid"]
        books = self._stats[key]
        books.polls += 1
        fault = self.faults.next("poll")
        if refusal := await self._refuse(request, key, books, fault):
            return refusal
        task = self._tasks.get((key, uuid))
        if task is None or fault == "lost":
            return JSONResponse({"code": 404, "msg": "Resource Not Found"})
        reply = {"uuid": uuid, "status": "running", "error": "", "result": None}
        if time.monotonic() >= task.done_at:
            reply |= await _outcome(task)
        return _ok(reply)

    def _start(self, endpoint: str, body: dict[str, Any], fault: str) -> Task:
        scene = {"dinox/region_vl": describe, "trex/detection": match}.get(endpoint, self.scene)
        low, high = self.model_time if isinstance(self.model_time, tuple) else (self.model_time, self.model_time)
        takes = float("inf") if fault == "never" else random.uniform(low, high)  # noqa: S311 - no secret
        return Task(time.monotonic() + takes, fault, asyncio.ensure_future(asyncio.to_thread(scene, body)))

    async def _refuse(self, request: Request, key: str, books: Stats, fault: str) -> Response | None:
        """Answer what keeps a request from its work, or None."""
        now = time.monotonic()
        books.requests += 1
        books.times.append(now)
        name, _, after = fault.partition(":")
        if name.isdigit() and len(name) == 3:
            headers = {"Retry-After": after} if after else None
            errors = ["bbox_threshold: out of range"] if name == "400" else []
            return JSONResponse({"code": int(name), "msg": "ordered", "errors": errors}, int(name), headers)
        if fault == "hang":
            while (await request.receive())["type"] != "http.disconnect":
                pass
        if fault in ("drop", "hang"):
            return _Dropped()
        if fault == "bad-key" or key not in self.keys:
            return JSONResponse({"code": 401, "msg": f"Token {key} is invalid"}, 401)
        if self.rate_limit and sum(now - 1 < then for then in books.times[-100:]) > self.rate_limit:
            return JSONResponse({"code": 429, "msg": "Token exceeds Rate Limit"}, 429)
        return _IN_A_200.get(fault, lambda: None)()


_IN_A_200 = {
    "202001": lambda: JSONResponse({"code": 202001, "msg": "please retry"}),
    "rate": lambda: JSONResponse({"code": 1, "msg": "Token exceeds Rate Limit"}),
    "quota": lambda: JSONResponse({"code": 1, "msg": "Token out of Quota"}),
    "html": lambda: HTMLResponse("<html><body>Welcome to the hotel's network</body></html>"),
    "truncated": lambda: Response('{"code": 0, "data": {"task_uu', media_type="application/json"),
}


async def _outcome(task: Task) -> dict[str, Any]:
    """Say how a task ended."""
    if task.fault == "failed":
        return {"status": "failed"}
    try:
        result = await task.work
    except (ValueError, OSError) as error:
        return {"status": "failed", "error": str(error)}
    if task.fault == "malformed":
        result = {**result, "objects": [*result["objects"], *_MALFORMED]}
    return {"status": "success", "result": None if task.fault == "empty" else result}


_MALFORMED = (None, {"category": "dog"}, {"category": "dog", "score": 0.5, "bbox": [1, 2, "x", None]})


def _ok(data: dict[str, Any]) -> Response:
    return JSONResponse({"code": 0, "msg": "ok", "data": data})


class _Dropped(Response):
    """A reply that breaks off, whereupon the server closes the connection."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
