"""The DINO-X cloud: whether it can be reached, and whether it takes the key, without spending anything."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import SecretStr

from dinox_mcp import __version__
from dinox_mcp.backends.dinox import network
from dinox_mcp.backends.dinox.replies import Failure, Verdict, quote, read_reply
from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import BackendError, BusyError, KeyRejectedError, QuotaError
from dinox_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx2

_AREA = "Cloud (dinox)"
_TIMEOUT_S = 10
_GET_ONE = "get one at https://deepdataspace.com and set DINOX_API_KEY; dinox-mcp install asks for it"


def check(settings: Settings, keys: Mapping[str, SecretStr], *, offline: bool = False) -> Iterator[Check]:
    """Look up a task that does not exist, once with each key, and once with a made-up one.

    Neither costs anything, as only creating tasks does. If the service refuses the made-up key and not ours, ours is
    accepted; whether it has credit left is not known before a question is paid. `keys` are named by where they are
    from; those of hosts come on top of the one in the settings.
    """
    keys = ({"environment": settings.api_key} if settings.api_key else {}) | dict(keys)
    if not keys:
        needed = settings.backend == "dinox"
        yield Check(_AREA, "key", "problem" if needed else "note", "none; not asked", _GET_ONE)
        return
    names = ", ".join(keys)
    if offline:
        yield Check(_AREA, "key", "note", f"set ({names}); not asked, as --offline says")
        return
    base = str(settings.api_base_url).rstrip("/")
    made_up = _look_up(base, SecretStr(f"doctor-{uuid4().hex}"))
    if isinstance(made_up, OSError):
        cause, remedy = network.explain(str(made_up))
        yield Check(_AREA, "service", "problem", f"{_host(base)} cannot be reached ({cause})", remedy)
        return
    yield Check(_AREA, "service", "ok", f"{_host(base)} answers")
    same: dict[str, list[str]] = {}
    for name, key in keys.items():
        same.setdefault(key.get_secret_value(), []).append(name)
    for value, owners in same.items():
        yield _about(_look_up(base, SecretStr(value)), ", ".join(owners), refuses=isinstance(made_up, KeyRejectedError))


def not_asked(why: str) -> Check:
    """Say that no key is sent anywhere, and why."""
    return Check(_AREA, "key", "note", f"not asked: {why}")


def _about(found: BackendError | OSError | None, owners: str, *, refuses: bool) -> Check:
    """Say what an answer means for a key; `refuses` tells whether a made-up one is refused."""
    name = f"key ({owners})"
    if isinstance(found, KeyRejectedError):
        return Check(_AREA, name, "problem", _first(found), f"correct it, or {_GET_ONE}")
    if isinstance(found, QuotaError):
        return Check(_AREA, name, "problem", _first(found), "add credit to the account of the key")
    if isinstance(found, BusyError):
        return Check(_AREA, name, "note", _first(found), "run the doctor again in a minute")
    if found is not None:
        return Check(_AREA, name, "problem", _first(found), "check DINOX_API_BASE_URL, and what answers there")
    if refuses:
        return Check(_AREA, name, "ok", "accepted, where a made-up one is refused; nothing was spent")
    return Check(_AREA, name, "note", "not refused, but neither is a made-up one: only a question will tell")


def _look_up(base: str, key: SecretStr) -> BackendError | OSError | None:
    """Ask for a task that nobody made; None if the answer is that there is none, an OSError if there is no answer."""
    import httpx2

    try:
        with _client() as client:
            reply = client.get(f"{base}/v2/task_status/{uuid4()}", headers={"Token": key.get_secret_value()})
        read_reply(reply.status_code, reply.headers, reply.content, key)
    except (httpx2.RequestError, httpx2.InvalidURL, *network.PROBLEMS) as problem:
        return OSError(quote(network.words(problem), key))
    except Failure as failure:
        return None if failure.verdict is Verdict.LOST else failure.error
    return None


def _client() -> "httpx2.Client":
    import httpx2

    return httpx2.Client(timeout=_TIMEOUT_S, headers={"User-Agent": f"dinox-mcp/{__version__}"})


def _first(error: BackendError | OSError) -> str:
    """Give an error without its remedy, which is for those who ask questions."""
    return str(error).rpartition("; ")[0] or str(error)


def _host(base: str) -> str:
    return base.rpartition("@")[2].removeprefix("https://")
