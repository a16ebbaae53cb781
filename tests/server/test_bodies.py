"""Request bodies, replies that wait and connections that do nothing, without a port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import h11
import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from dinox_mcp.errors import BusyError
from dinox_mcp.server import http as connections
from dinox_mcp.server.http import BoundedProtocol
from dinox_mcp.server.limits import BodyBudget, Outbox, Sending

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def client(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        yield http


class Slow:
    """An application that answers requests to /slow when it is released, and others at once, with their length."""

    def __init__(self) -> None:
        self.release = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        if scope["path"] == "/slow":
            await self.release.wait()
        await PlainTextResponse(str(len(body)))(scope, receive, send)


async def trickle(release: anyio.Event, *parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    await release.wait()
    yield b"!"


async def test_bodies_that_wait_for_their_answer_take_room() -> None:
    app = Slow()
    async with client(BodyBudget(app, largest=60, total=100)) as http, anyio.create_task_group() as group:
        group.start_soon(lambda: http.post("/slow", content=b"x" * 60))
        await anyio.wait_all_tasks_blocked()
        assert (await http.post("/", content=b"x" * 60)).status_code == 503
        assert (await http.post("/", content=b"x" * 10)).text == "10"
        app.release.set()
    async with client(BodyBudget(app, largest=60, total=100)) as http:
        assert (await http.post("/", content=b"x" * 60)).text == "60"


async def test_a_body_counts_for_what_has_arrived() -> None:
    app, more = Slow(), anyio.Event()
    answers: list[httpx2.Response] = []
    async with client(BodyBudget(app, largest=60, total=100)) as http, anyio.create_task_group() as group:

        async def post() -> None:
            answers.append(await http.post("/", content=trickle(more, b"x")))

        for _ in range(10):
            group.start_soon(post)
        await anyio.wait_all_tasks_blocked()
        assert (await http.post("/", content=b"x" * 60)).text == "60"
        more.set()
    assert [answer.text for answer in answers] == ["2"] * 10


async def test_the_largest_caller_makes_room_for_a_small_one() -> None:
    app, more = Slow(), anyio.Event()
    answers: list[int] = []
    async with client(BodyBudget(app, largest=60, total=100)) as http, anyio.create_task_group() as group:

        async def post() -> None:
            answers.append((await http.post("/", content=trickle(more, b"x" * 45))).status_code)

        group.start_soon(post)
        group.start_soon(post)
        await anyio.wait_all_tasks_blocked()
        small = await http.post("/", content=b"x" * 20, headers={"X-DINOX-API-Key": "another"})
        more.set()
    assert small.status_code == 200
    assert sorted(answers) == [200, 503]


@pytest.mark.parametrize(("idle_s", "deadline_s", "reason"), [(0.05, 9, "stopped"), (9, 0.05, "took more than")])
async def test_a_body_has_a_deadline(idle_s: float, deadline_s: float, reason: str) -> None:
    app = BodyBudget(Slow(), largest=60, total=100, idle_s=idle_s, deadline_s=deadline_s)
    async with client(app) as http:
        reply = await http.post("/", content=trickle(anyio.Event(), b"x"))
    assert reply.status_code == 408
    assert reason in reply.json()["error"]["message"]


async def test_a_body_that_is_too_large_is_refused_before_its_end() -> None:
    async with client(BodyBudget(Slow(), largest=60, total=100)) as http:
        assert (await http.post("/", content=trickle(anyio.Event(), b"x" * 61))).status_code == 413


async def test_a_large_reply_is_counted_until_it_is_read() -> None:
    outbox, read, sent = Outbox(most=100_000, wait_s=0.05), anyio.Event(), []
    answer = PlainTextResponse("x" * 200_000)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 1:
            await read.wait()

    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [], "client": ("10.0.0.1", 1)}
    async with anyio.create_task_group() as group:
        group.start_soon(Sending(answer, outbox), scope, receive, send)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BusyError, match="too many large replies"):
            async with outbox.making("somebody"):
                pass
        read.set()
    async with outbox.making("somebody"):
        pass
    assert b"".join(message.get("body", b"") for message in sent) == b"x" * 200_000
    assert [message.get("more_body") for message in sent[1:]] == [True, True, True, False]


async def test_a_caller_with_half_of_the_room_waits_and_others_do_not() -> None:
    outbox = Outbox(most=100, wait_s=0.05)
    outbox.add("greedy", 50)
    async with outbox.making("other"):
        pass
    with pytest.raises(BusyError):
        async with outbox.making("greedy"):
            pass


class Pipe(asyncio.Transport):
    """A connection without a network."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 2)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.aborted = True

    def write(self, data: object) -> None:
        pass


def connected(state: ServerState) -> tuple[BoundedProtocol, Pipe]:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await anyio.sleep_forever()

    protocol, pipe = BoundedProtocol(Config(app, log_config=None), state, {}), Pipe()
    protocol.connection_made(pipe)
    return protocol, pipe


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> ServerState:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)
    monkeypatch.setattr(connections, "STALL_S", 0.05)
    monkeypatch.setattr(BoundedProtocol, "most", 3)
    return ServerState()


@pytest.mark.parametrize("head", [b"", b"POST /mcp HT", b"POST /mcp HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_has_a_deadline(state: ServerState, head: bytes) -> None:
    protocol, pipe = connected(state)
    if head:
        protocol.data_received(head)
    await anyio.sleep(0.2)
    assert pipe.aborted


async def test_a_request_with_its_head_may_take_longer(state: ServerState) -> None:
    protocol, pipe = connected(state)
    protocol.data_received(b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n")
    assert protocol.conn.their_state is h11.DONE
    await anyio.sleep(0.2)
    assert not pipe.aborted
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_a_client_that_does_not_read_is_let_go(state: ServerState) -> None:
    protocol, pipe = connected(state)
    protocol.data_received(b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n")
    protocol.pause_writing()
    protocol.resume_writing()
    await anyio.sleep(0.2)
    assert not pipe.aborted
    protocol.pause_writing()
    await anyio.sleep(0.2)
    assert pipe.aborted
    protocol.connection_lost(ConnectionAbortedError())  # as asyncio does then
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_of_too_many_connections_the_oldest_idle_one_goes(state: ServerState) -> None:
    pipes = [connected(state)[1] for _ in range(5)]
    assert [pipe.aborted for pipe in pipes] == [True, True, False, False, False]
