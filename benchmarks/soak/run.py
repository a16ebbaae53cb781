"""Callers that make the calls, and the book of what came of each."""

import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents, PromptReference, TextContent

from benchmarks.soak.calls import Asker, Call, Json, Kind, kinds
from benchmarks.soak.cloud import FAULTS
from benchmarks.soak.servers import CALLERS, Line, Memory, Serving, memory_mib, seconds_to_rest

DEADLINE_S = 60.0
"""Seconds after which a call without an answer counts as hung."""
_BUSY = re.compile(r"try again|ask again in|busy|at once")
_CONNECTION_CLOSED = -32000
_PROBLEMS = {"lost", "failed", "wrong", "hidden"}
_BODIES = {"garbage": b"\xff\xfe{{{", "null": b"null", "deep": b"[" * 100_000}


@dataclass
class Answer:
    """What came of a call: its words and data, and whether it is an error."""

    text: str
    structured: Json | None = None
    error: bool = False
    lost: bool = False

    @property
    def busy(self) -> bool:
        """Tell whether the server asks to come again later."""
        return self.error and _BUSY.search(self.text) is not None


@dataclass
class Book:
    """What came of all calls of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    done: int = 0
    took_s: float = 0.0
    memory: list[tuple[int, float]] = field(default_factory=list)
    start_mib: float = 0.0
    rest_s: float = 0.0
    rest_mib: float = 0.0
    tracebacks: int = 0

    def note(self, call: Call, answer: Answer | None, seconds: float) -> None:
        """Write down one call; no answer where it was cancelled in flight."""
        self.done += 1
        if self.done % 100 == 0:
            print(f"{self.done} calls, {self.counts['hung']} hung", file=sys.stderr, flush=True)
        if answer is None:
            self.counts["cancelled"] += 1
            return
        what = self._judged(call, answer)
        self.counts[what] += 1
        if what in _PROBLEMS:
            self._complain(what, call, answer.text)
        if what == "lost":
            return
        self.counts["answered"] += 1
        row = call.name.partition("://")[0] + " resource" if call.verb == "resource" else call.name or call.verb
        self.seconds[row if call.verb != "complete" else "completion"].append(seconds)
        if answer.error:
            self.counts["busy"] += answer.busy
            self.errors[f"{call.kind}: {_outline(answer.text)}"] += 1

    @staticmethod
    def _judged(call: Call, answer: Answer) -> str:
        """Say what came of a call that was answered, or lost."""
        said = call.says in f"{answer.text}{json.dumps(answer.structured, ensure_ascii=False)}"
        meets = {
            "hostile": "refused" if answer.error else "taken",
            "cancelled": "too late",
            "honest": "failed" if answer.error else "good" if said else "wrong",
        }
        if answer.lost:
            return "lost"
        if call.fault is None or call.kind == "cancelled":
            return meets[call.kind]
        if FAULTS[call.fault].recovers:
            return "recovered" if meets["honest"] == "good" else meets["honest"]
        return "told" if answer.error else "hidden"

    def hung(self, call: Call) -> None:
        """Write down a call that was not answered in time."""
        self.done += 1
        self.counts["hung"] += 1
        self._complain("hung", call, f"no answer in {DEADLINE_S:.0f} s")

    def _complain(self, what: str, call: Call, said: str) -> None:
        fault = f" with the fault {FAULTS[call.fault].name}" if call.fault is not None else ""
        asked = re.sub(r"base64,[^'\"]{60,}", "base64,…", str(call.arguments)[:200_000])[:300]
        self.problems.append(f"{what}: {call.kind} {call.verb} {call.name} {asked}{fault}: {said[:300]}")


async def soak(server: Serving, count: int, chance: random.Random, folder: Path) -> Book:
    """Make so many calls, several at a time; then wait until the server rests."""
    book = Book(start_mib=memory_mib(server.pid))
    plan = kinds(count, chance)
    started = time.perf_counter()
    with Memory(server.pid, lambda: book.done).watching() as memory:
        async with anyio.create_task_group() as group:
            for number in range(CALLERS):
                files = folder if server.transport == "stdio" else None
                asker = Asker(random.Random(chance.random()), files, f"{server.transport}{number}")
                group.start_soon(_caller, server, number, asker, plan, book)
    book.took_s = time.perf_counter() - started
    book.memory = memory.samples
    book.rest_s = await seconds_to_rest(server.pid)
    book.rest_mib = memory_mib(server.pid)
    book.tracebacks = server.errors().count("Traceback (most recent")
    return book


async def _caller(server: Serving, number: int, asker: Asker, plan: Iterator[Kind], book: Book) -> None:
    async with server.line(number) as line:
        for kind in plan:
            call = await anyio.to_thread.run_sync(asker.call, kind)
            started = time.perf_counter()
            answer: Answer | None = None
            with anyio.move_on_after(DEADLINE_S) as deadline, anyio.move_on_after(call.cancel_after) as given_up:
                answer = await ask(line, call)
            if deadline.cancelled_caught and not given_up.cancelled_caught:
                book.hung(call)
                continue
            book.note(call, answer, time.perf_counter() - started)
            if answer:
                asker.learn(answer.structured)


async def ask(line: Line, call: Call) -> Answer:
    """Make one call and read its answer, whatever it is."""
    try:
        return await _asked(line, call)
    except MCPError as error:
        return Answer(_said(error, line), error=True, lost=_is_gone(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, there was no answer, and the soak goes on
        return Answer(repr(error), error=True, lost=True)


async def _asked(line: Line, call: Call) -> Answer:
    client = line.client
    if call.verb == "tool":
        reply = await client.call_tool(call.name, call.arguments, progress_callback=_listen)
        texts = [block.text for block in reply.content if isinstance(block, TextContent)]
        return Answer("\n".join(texts), reply.structured_content, bool(reply.is_error))
    if call.verb == "resource":
        contents = (await client.read_resource(call.name)).contents
        return Answer(" ".join("blob" if isinstance(one, BlobResourceContents) else one.text for one in contents))
    if call.verb == "complete":
        return Answer(str(await client.complete(PromptReference(name=call.name), call.arguments)))
    if call.verb == "tools/list":
        return Answer(str([tool.name for tool in (await client.list_tools()).tools]))
    return await _raw(line, call.name)


async def _raw(line: Line, what: str) -> Answer:
    """Send what is no call at all: the server has to refuse it, or to wait in vain without harm."""
    assert line.http is not None
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if what == "token":
        reply = await line.http.post(line.url, headers=headers | {"Authorization": "Bearer wrong"}, content=b"{}")
    elif what in _BODIES:
        reply = await line.http.post(line.url, headers=headers, content=_BODIES[what])
    else:
        address, port = httpx2.URL(line.url).host, httpx2.URL(line.url).port or 80
        head = f"POST /mcp HTTP/1.1\r\nHost: {address}:{port}\r\n"
        if what == "half":
            authorization = line.http.headers["Authorization"]
            head += f"Authorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"
        async with await anyio.connect_tcp(address, port) as stream:
            await stream.send(head.encode())
            await anyio.sleep(1)
        return Answer(f"{what}: gone", error=True)
    return Answer(f"HTTP {reply.status_code}", error=reply.is_error)


async def _listen(progress: float, total: float | None, message: str | None) -> None:
    """Take progress."""


def _said(error: MCPError, line: Line) -> str:
    """Tell the error, and the HTTP status where the client keeps it to itself."""
    silent = error.message == "Server returned an error response"
    if not silent or not line.statuses:
        return f"{error.code}: {error.message}"
    status = line.statuses[-1]
    return f"HTTP {status}: {'busy' if status == 503 else error.message}"


def _is_gone(error: MCPError) -> bool:
    return (
        error.code == _CONNECTION_CLOSED or "without a response" in error.message or "closed" in error.message.lower()
    )


def _outline(text: str) -> str:
    """Bring an error to what it has in common with others of its kind."""
    line = " ".join(text.split())
    return re.sub(r"(['\"]).*?\1|\S*/\S*|\d[\d,.]*|\b[a-z2-9]{16}\b", "…", line)[:90]
