"""Other programs, run with bounds: on their time, and on what they write."""

from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, PIPE
from typing import NamedTuple

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

_MAX_ERRORS = 2000


class Finished(NamedTuple):
    """What a program has written, and its exit status, which is 0 where it succeeded."""

    output: bytes
    errors: str
    status: int


async def run(
    command: Sequence[str],
    *,
    limit_s: float,
    max_bytes: int,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program without a shell until it ends; it is killed at a limit, or when the call is cancelled.

    Args:
        command: the program and its arguments.
        limit_s: the seconds that it may take.
        max_bytes: the bytes that it may write; of more, one too many are returned.
        stdin: what it reads; by default nothing.
        env: its environment; by default that of this process.

    Raises:
        TimeoutError: it took longer.
        OSError: it cannot be started.
    """
    source = DEVNULL if stdin is None else PIPE
    with anyio.fail_after(limit_s):
        async with await anyio.open_process(command, stdin=source, stdout=PIPE, stderr=PIPE, env=env) as process:
            output, errors = bytearray(), bytearray()
            try:
                async with anyio.create_task_group() as group:
                    if process.stdin is not None:
                        group.start_soon(_feed, process.stdin, stdin or b"")
                    if process.stderr is not None:
                        group.start_soon(_drain, process.stderr, errors)
                    if process.stdout is not None and not await _read(process.stdout, output, max_bytes):
                        process.kill()
                        group.cancel_scope.cancel()
                status = await process.wait()
            except BaseException:
                process.kill()  # first: closing its input waits until it has read everything
                raise
    return Finished(bytes(output), errors.decode(errors="replace").strip(), status)


async def _feed(stream: ByteSendStream, data: bytes) -> None:
    async with stream:
        try:
            await stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # it ended without reading everything; its status says why


async def _read(stream: ByteReceiveStream, into: bytearray, most: int) -> bool:
    """Read a stream; return False, with one byte too many, where there are more than `most`."""
    async for chunk in stream:
        into += chunk
        if len(into) > most:
            del into[most + 1 :]
            return False
    return True


async def _drain(stream: ByteReceiveStream, into: bytearray) -> None:
    """Read a stream to its end, as a program waits where nobody reads, and keep how it begins."""
    async for chunk in stream:
        into += chunk[: _MAX_ERRORS - len(into)]
