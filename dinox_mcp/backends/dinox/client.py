"""The way of one request to the service: create a task, poll until it is done, report progress."""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from dinox_mcp import __version__
from dinox_mcp.backends.base import Progress
from dinox_mcp.backends.concurrency import alongside
from dinox_mcp.backends.dinox import network
from dinox_mcp.backends.dinox.pacing import Durations, Patience, RateLimiter, Task, Ticket, Tickets
from dinox_mcp.backends.dinox.replies import Failure, Verdict, quote, read_reply, read_status
from dinox_mcp.backends.dinox.wire.question import Job
from dinox_mcp.errors import BackendError, DeadlineError, ServiceError, UnreachableError

if TYPE_CHECKING:
    import httpx2


class Stage:
    """Where a call stands: a fraction that only grows, and a few words."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fraction = 0.0
        self._message = ""

    async def say(self, fraction: float, message: str) -> None:
        """Report a change."""
        self._fraction = max(self._fraction, fraction)
        self._message = message
        await self._progress(self._fraction, message)

    async def repeat(self, every_s: float) -> None:
        """Report again and again, creeping forward, so that nobody takes a long wait for a dead one."""
        while True:
            await anyio.sleep(every_s)
            await self.say(self._fraction + (0.95 - self._fraction) / 20, self._message)


@asynccontextmanager
async def telling(progress: Progress, every_s: float) -> AsyncIterator[Stage]:
    """Keep a caller told while the block runs."""
    stage = Stage(progress)
    async with alongside(partial(stage.repeat, every_s)):
        yield stage


logger = logging.getLogger(__name__)

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_MAX_REPLY_BYTES = 64 * 1024 * 1024
_RETRY = frozenset({Verdict.RETRY})


@dataclass(frozen=True, slots=True)
class Reply:
    """The data of a reply, and when its request was sent (on the event loop's clock)."""

    data: dict[str, Any]
    sent: float


class Client:
    """An asynchronous client of the DINO-X cloud API, version 2; one serves all keys, apart from each other.

    Keys travel in the header `Token` and nowhere else. Redirects are not followed and cookies not kept, so that
    neither carries a key or a session to where it does not belong.
    """

    def __init__(self, base_url: str, patience: Patience) -> None:
        self._base_url = base_url.rstrip("/")
        self._patience = patience
        self._limiter = RateLimiter()
        self._durations = Durations(patience.first_poll_s)
        self._tickets = Tickets(patience.remember_s)
        self._http: httpx2.AsyncClient | None = None
        self._sending: set[anyio.CancelScope] = set()
        self._closed = False

    async def run(self, job: Job, stage: Stage, deadline: float) -> dict[str, Any]:
        """Ask a question and give the task's `result`; `deadline` is on the event loop's clock.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
        """
        asked = anyio.current_time()
        with self._tickets.use(job.question) as ticket:
            with anyio.CancelScope(deadline=deadline):
                return await self._answer(job, ticket, stage)
            waited = f"no answer from the DINO-X service within {anyio.current_time() - asked:.0f} s"
            if ticket.task.uuid is None:
                remedy = "check the network and ask again, or raise DINOX_MCP_TIMEOUT_S; nothing is paid twice"
                raise DeadlineError(f"{waited}, not even that it took the question; {remedy}")
            remedy = "asking the same question again picks it up and is not paid twice; or raise DINOX_MCP_TIMEOUT_S"
            raise DeadlineError(f"{waited}; the task goes on there: {remedy}")

    async def aclose(self) -> None:
        """Close all connections; calls that still run fail."""
        self._closed = True
        for request in self._sending:
            request.cancel()  # one that is only connecting would not end with the connections
        if self._http:
            await self._http.aclose()

    async def _answer(self, job: Job, ticket: Ticket, stage: Stage) -> dict[str, Any]:
        """Work on the ticket, unless somebody else does, or has: then share what came of it.

        One who works and is cancelled leaves the task to the next in line.
        """
        if ticket.lock.statistics().locked:
            await stage.say(0.1, "waiting for the answer to the same question")
        async with ticket.lock:
            outcome = ticket.outcome
            if outcome is None:
                outcome = ticket.outcome = await self._settle(job, ticket.task, stage)
        if isinstance(outcome, BackendError):
            raise type(outcome)(str(outcome))  # each of those who share it gets one of its own
        return outcome

    async def _settle(self, job: Job, task: Task, stage: Stage) -> dict[str, Any] | BackendError:
        """Give the result or the error that ends a ticket, and close it."""
        try:
            result = await self._work(job, task, stage)
        except Failure as failure:
            finished = failure.verdict in (Verdict.FINAL, Verdict.LOST)
            self._tickets.close(job.question, finished=finished)
            return failure.error
        self._tickets.close(job.question, finished=True)
        return result

    async def _work(self, job: Job, task: Task, stage: Stage) -> dict[str, Any]:
        """Create the task unless it exists, and wait for it; one that the service forgot is created anew."""
        if task.uuid:
            try:
                await stage.say(0.2, "picking up the task that is under way")
                return await self._wait(job, task, stage, resumed=True)
            except Failure as failure:
                if failure.verdict is not Verdict.LOST:
                    raise
            task.renew()
        return await self._create(job, task, stage) or await self._wait(job, task, stage, resumed=False)

    async def _create(self, job: Job, task: Task, stage: Stage) -> dict[str, Any] | None:
        """Create the task; its result where the reply has it already."""
        await stage.say(0.1, f"uploading {len(job.body) / 1000:.0f} KB")
        same = job.idempotency_key(task.begun, task.number, self._patience.remember_s)
        headers = {"Idempotency-Key": same, "Content-Type": "application/json"}

        async def send() -> Reply:
            return await self._send(job, "POST", f"/v2/task/{job.endpoint}", headers, job.body)

        data = (await self._retrying(send, stage, _RETRY)).data
        uuid = data.get("task_uuid")
        if (data.get("result") or not uuid) and (result := read_status(data, job.key)) is not None:
            return result
        if not isinstance(uuid, str) or not _TASK_ID.fullmatch(uuid):
            got = quote(uuid, job.key)
            error = ServiceError(f"the DINO-X service sent no usable task_uuid (got {got!r}); ask again")
            raise Failure(Verdict.UNCLEAR, error)
        task.uuid, task.created = uuid, anyio.current_time()
        return None

    async def _wait(self, job: Job, task: Task, stage: Stage, *, resumed: bool) -> dict[str, Any]:
        """Poll when the answer is due, and learn from it how long such tasks take."""
        expected = self._durations.expected(job.kind)
        if not resumed:
            await stage.say(0.3, f"waiting (about {expected:.1f} s)" if expected else "waiting")
        # A task that was created just now may not be known everywhere yet.
        retried = _RETRY if resumed else _RETRY | {Verdict.LOST}

        async def poll() -> Reply:
            return await self._send(job, "GET", f"/v2/task_status/{task.uuid}", {}, None)

        plan = self._durations.plan(job.kind)
        due = 0.0 if resumed else next(plan)
        before = None
        while True:
            await anyio.sleep_until(task.created + due)
            reply = await self._retrying(poll, stage, retried)
            sent = reply.sent - task.created
            if (result := read_status(reply.data, job.key)) is not None:
                if not resumed:
                    self._durations.learn(job.kind, due, before, sent)
                return result
            before = sent
            elapsed = anyio.current_time() - task.created
            due = next(time for time in plan if time > elapsed)

    async def _retrying(
        self, send: Callable[[], Awaitable[Reply]], stage: Stage, verdicts: Collection[Verdict]
    ) -> Reply:
        """Send until it succeeds, attempts are used up, or the next pause would outlast the deadline."""
        attempt = 1
        while True:
            try:
                return await send()
            except Failure as failure:
                pause = self._patience.pause(attempt, failure.after)
                left = anyio.current_effective_deadline() - anyio.current_time()
                if failure.verdict not in verdicts or attempt >= self._patience.attempts or pause >= left:
                    raise
                reason = str(failure).partition(";")[0]
            attempt += 1
            await stage.say(0.1, f"trying again in {pause:.1f} s ({reason})")
            await anyio.sleep(pause)

    async def _send(self, job: Job, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Send one request when it is the key's turn.

        Raises:
            Failure: there is no reply, or not one with data.
        """
        import httpx2

        self._connections()  # made before the turn, which they should not use up
        headers = {**headers, "Token": job.key.get_secret_value()}
        try:
            async with self._limiter.turn(job.key):
                sent = anyio.current_time()
                request = self._connections().stream(method, self._base_url + path, content=body, headers=headers)
                with self._until_closed():
                    async with request as response:
                        content = await _content(response)
        except (httpx2.RequestError, httpx2.InvalidURL, *network.PROBLEMS) as problem:
            hopeless = httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, *network.PROBLEMS
            verdict = Verdict.UNCLEAR if self._closed or isinstance(problem, hopeless) else Verdict.RETRY
            said = quote(network.words(problem), job.key)
            logger.info("%s %s: no reply (%s)", method, path, said)
            raise Failure(verdict, self._unreachable(said)) from None
        took_ms = (anyio.current_time() - sent) * 1000
        logger.info("%s %s: HTTP %d, %d bytes, %.0f ms", method, path, response.status_code, len(content), took_ms)
        return Reply(read_reply(response.status_code, response.headers, content, job.key), sent)

    @contextmanager
    def _until_closed(self) -> Iterator[None]:
        """Give a request up when the client is closed."""
        with anyio.CancelScope() as scope:
            self._sending.add(scope)
            try:
                yield
            finally:
                self._sending.discard(scope)
        if scope.cancelled_caught:
            raise Failure(Verdict.UNCLEAR, self._unreachable("this client is closed"))

    def _connections(self) -> "httpx2.AsyncClient":
        """Give the pool of connections, made on first use."""
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx2

        if self._closed:
            raise Failure(Verdict.UNCLEAR, self._unreachable("this client is closed"))
        if self._http is None:
            limit = httpx2.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=30)
            try:
                self._http = httpx2.AsyncClient(
                    headers={"User-Agent": f"dinox-mcp/{__version__}"},
                    timeout=httpx2.Timeout(self._patience.reply_s, connect=self._patience.connect_s, pool=None),
                    limits=limit,
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                )
            except (httpx2.InvalidURL, *network.PROBLEMS) as problem:
                raise Failure(Verdict.UNCLEAR, self._unreachable(network.words(problem))) from None
        return self._http

    def _unreachable(self, problem: str) -> UnreachableError:
        host = self._base_url.rpartition("@")[2].removeprefix("https://")
        cause, remedy = network.explain(problem)
        return UnreachableError(f"the DINO-X service at {host} cannot be reached ({cause}); {remedy}, and ask again")


async def _content(response: "httpx2.Response") -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_REPLY_BYTES:
            error = ServiceError("the DINO-X service sent more than 64 MiB; check DINOX_API_BASE_URL, ask for less")
            raise Failure(Verdict.FINAL, error)
    return bytes(content)
