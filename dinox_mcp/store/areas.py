"""Where several server processes keep named bytes together: a folder, or Redis.

A name has parts joined by "/". Every method blocks.
"""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dinox_mcp.errors import SettingsError, UnreachableError
from dinox_mcp.store.files import open_regular, write_atomically
from dinox_mcp.types.extras import extras_command
from dinox_mcp.types.text import clean_line

if TYPE_CHECKING:
    from redis import Redis

CONNECT_S, ANSWER_S = 2.0, 5.0  # that Redis may take to connect and to answer
_PREFIX = "dinox-mcp/"
_INDEX = _PREFIX + "index"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600  # only this user may read them


class Item(NamedTuple):
    """One item in an area: its name, its bytes, and when it was written or renewed, in seconds since 1970."""

    name: str
    size: int
    changed: float


class Folder:
    """Keeps bytes in a folder, on one machine or on a file system that several machines mount: a file for each item.

    Raises:
        SettingsError: the folder cannot be used; each method may raise it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, data: bytes, keep_s: float) -> None:  # noqa: ARG002 - a file's age is checked by `read`
        """Write a file in one step, in place of an earlier one of this name."""
        path = self._folder / name
        with self._explained():
            try:
                _write(path, data)
            except FileNotFoundError:  # another process has removed the folder, which was empty
                _write(path, data)

    def renew(self, name: str, keep_s: float) -> bool:
        """Set the time of a file, and return whether it is there."""
        with self._explained(), suppress(FileNotFoundError):
            if not self._is_expired(name, keep_s):
                os.utime(self._folder / name)
                return True
        return False

    def read(self, name: str, keep_s: float) -> bytes | None:
        """Read a file if it is not too old."""
        with self._explained(), suppress(FileNotFoundError):
            if not self._is_expired(name, keep_s):
                with open_regular(self._folder / name) as file:
                    return file.read()
        return None

    def items(self) -> list[Item]:
        """List the files, also those that a process left unfinished."""
        found = []
        with self._explained():
            for path in self._folder.glob("*/*/*"):
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        found.append(Item(path.relative_to(self._folder).as_posix(), status.st_size, status.st_mtime))
        return found

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and the folders that are empty then."""
        with self._explained():
            for name in names:
                path = self._folder / name
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    path.parent.rmdir()

    def close(self) -> None:
        """Do nothing."""

    def _is_expired(self, name: str, keep_s: float) -> bool:
        return (self._folder / name).lstat().st_mtime + keep_s <= time.time()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingsError(
                f"the shared store {self._folder} cannot be used ({error.strerror}); set DINOX_MCP_STORE to a folder "
                "that can be read and written"
            ) from None


class InRedis:
    """Keeps bytes in Redis: a key for each item, which expires there, and an index of sizes and times.

    Args:
        url: where Redis is, without a password.
        client: the client that is connected to it; `connect` makes one.

    Raises:
        UnreachableError: Redis does not answer; each method may raise it.
    """

    def __init__(self, url: str, client: "Redis") -> None:
        self._url = url
        self._client = client

    @classmethod
    def connect(cls, url: str, password: str | None) -> "InRedis":
        """Make a client, which connects at the first call.

        Raises:
            SettingsError: the extra `redis` is not installed, or the URL is not valid.
        """
        try:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.exceptions import ConnectionError as LostConnection
            from redis.retry import Retry
        except ImportError:
            command = extras_command(["redis"])
            raise SettingsError(f"DINOX_MCP_STORE names a Redis, which needs one more package; {command}") from None
        once_more = Retry(NoBackoff(), 1, (LostConnection,))  # a connection that was idle for long may be closed
        limits = {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S}
        try:
            client = Redis.from_url(url, password=password, retry=once_more, **limits)
        except ValueError as error:
            raise SettingsError(f"DINOX_MCP_STORE: {error}; write redis://HOST:PORT/DATABASE") from None
        return cls(url, client)

    def write(self, name: str, data: bytes, keep_s: float) -> None:
        """Set a key that expires, and note its size."""
        with self._explained(), self._client.pipeline() as pipeline:
            pipeline.set(_PREFIX + name, data, ex=_seconds(keep_s))
            pipeline.hset(_INDEX, name, f"{len(data)} {time.time()}")
            pipeline.execute()

    def renew(self, name: str, keep_s: float) -> bool:
        """Let a key expire later, and return whether it is there."""
        with self._explained():
            if not self._client.expire(_PREFIX + name, _seconds(keep_s)):
                return False
            size = self._client.strlen(_PREFIX + name)
            self._client.hset(_INDEX, name, f"{size} {time.time()}")
        return True

    def read(self, name: str, keep_s: float) -> bytes | None:  # noqa: ARG002 - Redis removes what has expired
        """Get a key."""
        with self._explained():
            found = self._client.get(_PREFIX + name)
        return found if isinstance(found, bytes) else None

    def items(self) -> list[Item]:
        """List the index."""
        with self._explained():
            index = self._client.hgetall(_INDEX)
        found = []
        for name, about in index.items():
            with suppress(ValueError):  # not written by us
                size, changed = _text(about).split(" ")
                found.append(Item(_text(name), int(size), float(changed)))
        return found

    def remove(self, names: Iterable[str]) -> None:
        """Delete keys, and their entries in the index."""
        if gone := list(names):
            with self._explained(), self._client.pipeline() as pipeline:
                pipeline.delete(*(_PREFIX + name for name in gone))
                pipeline.hdel(_INDEX, *gone)
                pipeline.execute()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            reason = clean_line(str(error)).rstrip(".") or type(error).__name__
            raise UnreachableError(
                f"the shared store at {self._url} does not work ({reason}); start it, or correct DINOX_MCP_STORE and "
                "DINOX_MCP_STORE_PASSWORD"
            ) from None


Area = Folder | InRedis


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    write_atomically(path, data, _PRIVATE_FILE)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def _seconds(keep_s: float) -> int:
    return max(1, round(keep_s))
