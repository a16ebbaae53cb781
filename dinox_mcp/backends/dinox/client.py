"""Sends one request to the service: creates a task, polls until it is done, and reports progress."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from dinox_mcp import __version__
from dinox_mcp.backends.base import Progress
from dinox_mcp.backends.dinox.replies import (
    PROBLEMS,
    Failure,
    Verdict,
    explain,
    message_of,
    quote,
    read_reply,
    read_status,
)
from dinox_mcp.backends.dinox.request import ApiRequest
from dinox_mcp.backends.dinox.tasks import Durations, RateLimiter, RetrySettings, SharedTask, Task, TasksInFlight
from dinox_mcp.errors import BackendError, DeadlineError, ServiceError, UnreachableError

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_MAX_REPLY_BYTES = 64 * 1024 * 1024
_RETRY = frozenset({Verdict.RETRY})


class Reporter:
    """Reports the progress of one call: a fraction that only grows, and a short message."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fraction = 0.0
        self._message = ""

    async def report(self, fraction: float, message: str) -> None:
        """Report a new step."""
        self._fraction = max(self._fraction, fraction)
        self._message = message
        await self._progress(self._fraction, message)

    async def repeat(self, every_s: float) -> None:
        """Report again every few seconds, with a slightly larger fraction, so that a long wait does not look dead."""
        while True:
            await anyio.sleep(every_s)
            await self.report(self._fraction + (0.95 - self._fraction) / 20, self._message)


class Reply(NamedTuple):
    """The data of a reply, and when its request was sent (on the event loop's clock)."""

    data: dict[str, Any]
    sent: float


class Client:
    """An asynchronous client of the DINO-X cloud API, version 2, for any number of keys.

    A key is sent in the header `Token` and nowhere else. Redirects are not followed and cookies are not kept, so that
    neither can carry a key or a session to another server.
    """

    def __init__(self, base_url: str, retry: RetrySettings) -> None:
        self._base_url = base_url.rstrip("/")
        self._retry = retry
        self._limiter = RateLimiter()
        self._durations = Durations(retry.first_poll_s)
        self._tasks = TasksInFlight(retry.remember_s)
        self._http: httpx2.AsyncClient | None = None
        self._running: set[anyio.CancelScope] = set()
        self._closed = False

    async def run(self, request: ApiRequest, reporter: Reporter, deadline: float) -> dict[str, Any]:
        """Send a request and return the task's `result`; `deadline` is on the event loop's clock.

        Raises:
            KeyRejectedError, QuotaError, BusyError, DeadlineError, UnreachableError, ServiceError: see each.
        """
        start = anyio.current_time()
        scope = anyio.CancelScope(deadline=deadline)
        self._running.add(scope)
        try:
            with self._tasks.use(request.identity) as shared, scope:
                return await self._share(request, shared, reporter)
        finally:
            self._running.discard(scope)
        if self._closed:
            raise self._unreachable("this client is closed")
        waited = f"no answer from the DINO-X service within {anyio.current_time() - start:.0f} s"
        if shared.task.uuid is None:
            remedy = "check the network and try again, or raise DINOX_MCP_TIMEOUT_S; nothing is paid twice"
            raise DeadlineError(f"{waited}, and no sign that it took the request; {remedy}")
        remedy = "the same request continues it and is not paid twice; or raise DINOX_MCP_TIMEOUT_S"
        raise DeadlineError(f"{waited}; the task goes on there: {remedy}")

    async def aclose(self) -> None:
        """Close all connections; calls that still run fail."""
        self._closed = True
        for scope in self._running:
            scope.cancel()  # a request that is still connecting does not end with the connections
        if self._http:
            await self._http.aclose()

    async def _share(self, request: ApiRequest, shared: SharedTask, reporter: Reporter) -> dict[str, Any]:
        """Run the task, or share its outcome with the call that runs it or has run it.

        If the call that runs it is cancelled, the next one that waits continues it.
        """
        if shared.lock.locked():
            await reporter.report(0.1, "waiting for the result of an equal request")
        async with shared.lock:
            outcome = shared.outcome
            if outcome is None:
                outcome = shared.outcome = await self._finish(request, shared.task, reporter)
        if isinstance(outcome, BackendError):
            raise type(outcome)(str(outcome))  # each call raises an error object of its own
        return outcome

    async def _finish(self, request: ApiRequest, task: Task, reporter: Reporter) -> dict[str, Any] | BackendError:
        """Return the result or the error of a task, and close it."""
        try:
            result = await self._run_task(request, task, reporter)
        except Failure as failure:
            finished = failure.verdict in (Verdict.FINAL, Verdict.LOST)
            self._tasks.close(request.identity, finished=finished)
            return failure.error
        self._tasks.close(request.identity, finished=True)
        return result

    async def _run_task(self, request: ApiRequest, task: Task, reporter: Reporter) -> dict[str, Any]:
        """Create the task unless it exists, and wait for it; create it again if the service has forgotten it."""
        if task.uuid:
            try:
                await reporter.report(0.2, "continuing the task that is under way")
                return await self._wait(request, task, reporter, resumed=True)
            except Failure as failure:
                if failure.verdict is not Verdict.LOST:
                    raise
            task.renew()
        return await self._create(request, task, reporter) or await self._wait(request, task, reporter, resumed=False)

    async def _create(self, request: ApiRequest, task: Task, reporter: Reporter) -> dict[str, Any] | None:
        """Create the task; return its result if the reply has it already."""
        await reporter.report(0.1, f"uploading {len(request.body) / 1000:.0f} KB")
        same = request.idempotency_key(task.begun, task.number, self._retry.remember_s)
        headers = {"Idempotency-Key": same, "Content-Type": "application/json"}
        send = partial(self._send, request, "POST", f"/v2/task/{request.endpoint}", headers, request.body)
        data = (await self._retrying(send, reporter, _RETRY)).data
        uuid = data.get("task_uuid")
        if (data.get("result") or not uuid) and (result := read_status(data, request.key)) is not None:
            return result
        if not isinstance(uuid, str) or not _TASK_ID.fullmatch(uuid):
            got = quote(uuid, request.key)
            error = ServiceError(f"the DINO-X service sent no usable task_uuid (got {got!r}); try again")
            raise Failure(Verdict.UNCLEAR, error)
        task.uuid, task.created = uuid, anyio.current_time()
        return None

    async def _wait(self, request: ApiRequest, task: Task, reporter: Reporter, *, resumed: bool) -> dict[str, Any]:
        """Poll when the result is due, and learn how long such tasks take."""
        expected = self._durations.expected(request.kind)
        if not resumed:
            await reporter.report(0.3, f"waiting (about {expected:.1f} s)" if expected else "waiting")
        # A task that was created just now may not be known everywhere yet.
        retried = _RETRY if resumed else _RETRY | {Verdict.LOST}
        poll = partial(self._send, request, "GET", f"/v2/task_status/{task.uuid}", {}, None)
        plan = self._durations.plan(request.kind)
        due = 0.0 if resumed else next(plan)
        before = None
        while True:
            await anyio.sleep_until(task.created + due)
            reply = await self._retrying(poll, reporter, retried)
            sent = reply.sent - task.created
            if (result := read_status(reply.data, request.key)) is not None:
                if not resumed:
                    self._durations.learn(request.kind, due, before, sent)
                return result
            before = sent
            elapsed = anyio.current_time() - task.created
            due = next(time for time in plan if time > elapsed)

    async def _retrying(
        self, send: Callable[[], Awaitable[Reply]], reporter: Reporter, verdicts: Collection[Verdict]
    ) -> Reply:
        """Send until it succeeds, the attempts are used up, or the next pause would end after the deadline."""
        attempt = 1
        while True:
            try:
                return await send()
            except Failure as failure:
                pause = self._retry.pause(attempt, failure.after)
                left = anyio.current_effective_deadline() - anyio.current_time()
                if failure.verdict not in verdicts or attempt >= self._retry.attempts or pause >= left:
                    raise
                reason = str(failure).partition(";")[0]
            attempt += 1
            await reporter.report(0.1, f"trying again in {pause:.1f} s ({reason})")
            await anyio.sleep(pause)

    async def _send(
        self, request: ApiRequest, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Send one HTTP request as soon as the rate limit of the key allows it."""
        import httpx2

        headers = {**headers, "Token": request.key.get_secret_value()}
        try:
            self._connections()  # made before the request counts against the rate limit
            async with self._limiter.slot(request.key):
                sent = anyio.current_time()
                stream = self._connections().stream(method, self._base_url + path, content=body, headers=headers)
                async with stream as response:
                    content = await _content(response)
        except (httpx2.RequestError, httpx2.InvalidURL, *PROBLEMS) as problem:
            hopeless = httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, *PROBLEMS
            verdict = Verdict.UNCLEAR if isinstance(problem, hopeless) else Verdict.RETRY
            said = quote(message_of(problem), request.key)
            logger.info("%s %s: no reply (%s)", method, path, said)
            raise Failure(verdict, self._unreachable(said)) from None
        took_ms = (anyio.current_time() - sent) * 1000
        logger.info("%s %s: HTTP %d, %d bytes, %.0f ms", method, path, response.status_code, len(content), took_ms)
        return Reply(read_reply(response.status_code, response.headers, content, request.key), sent)

    def _connections(self) -> "httpx2.AsyncClient":
        """Return the pool of connections, made on first use; none is made or used once the client is closed."""
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx2

        if self._closed:  # a call may get here before it is cancelled
            raise Failure(Verdict.UNCLEAR, self._unreachable("this client is closed"))
        if self._http is None:
            self._http = httpx2.AsyncClient(
                headers={"User-Agent": f"dinox-mcp/{__version__}"},
                timeout=httpx2.Timeout(self._retry.reply_s, connect=self._retry.connect_s, pool=None),
                limits=httpx2.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=30),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        return self._http

    def _unreachable(self, problem: str) -> UnreachableError:
        host = self._base_url.rpartition("@")[2].removeprefix("https://")
        cause, remedy = explain(problem)
        return UnreachableError(f"the DINO-X service at {host} cannot be reached ({cause}); {remedy}, and try again")


async def _content(response: "httpx2.Response") -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_REPLY_BYTES:
            error = ServiceError("the DINO-X service sent more than 64 MiB; check DINOX_API_BASE_URL, or request less")
            raise Failure(Verdict.FINAL, error)
    return bytes(content)
