"""What went wrong with the hub, said in one line with what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from dinox_mcp.backends.local.presets import ModelSource, variable
from dinox_mcp.backends.local.transfer import Stopped
from dinox_mcp.errors import BackendError, DinoxError, KeyRejectedError, UnreachableError, UnsupportedError

_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY = 401, 403, 429


@contextmanager
def explained(source: ModelSource, cache: Path) -> Iterator[None]:
    """Turn whatever the hub's library or the network raises about a model into a BackendError.

    Raises:
        BackendError: or one of its kinds.
    """
    try:
        yield
    except (DinoxError, Stopped):
        raise
    except Exception as error:  # a mirror that answers nonsense can make the library raise anything
        raise _explain(error, source, cache) from error


def _explain(error: BaseException, source: ModelSource, cache: Path) -> BackendError:
    """Look for the cause that says most: the library wraps some errors in others."""
    causes = list(_causes(error))
    for explain in (_of_the_hub, _of_the_disk, _of_the_network):
        for cause in causes:
            found = explain(cause, source, cache)
            if found:
                return found
    return BackendError(f"{source.name} could not be downloaded: {_line(error)}; try again, it goes on from here")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_the_hub(error: BaseException, source: ModelSource, cache: Path) -> BackendError | None:
    from huggingface_hub import errors

    repo = source.repo
    found: BackendError | None = None
    match error:
        case errors.OfflineModeIsEnabled():
            state = "incomplete" if _has_begun(source, cache) else "not"
            found = UnreachableError(
                f"{source.name} is {state} on this machine and HF_HUB_OFFLINE forbids fetching it; unset that and run "
                f"'dinox-mcp pull {_word(source)}', or set {variable(source.role)} to a model's folder"
            )
        case errors.GatedRepoError():
            found = KeyRejectedError(
                f"{repo} is gated: sign in to the hub, accept the licence on the page of {repo}, wait until access is "
                "granted, then set HF_TOKEN to a token of that account (read access)"
            )
        case errors.RevisionNotFoundError():
            found = UnsupportedError(
                f"{repo} has no revision {source.revision!r}; name a tag, a branch or a whole commit (40 digits), or "
                "leave out the part after @"
            )
        case errors.RepositoryNotFoundError():
            found = UnsupportedError(
                f"the hub has no repository {repo}, or it is private; check {variable(source.role)} for typing errors, "
                "and for a private one set HF_TOKEN to a token that may read it"
            )
        case errors.HFValidationError():
            found = UnsupportedError(f"{repo} cannot be the name of a repository ({_line(error)}); write owner/name")
        case errors.HfHubHTTPError():
            found = _of_a_status(error.response.status_code, str(repo))
    return found


def _has_begun(source: ModelSource, cache: Path) -> bool:
    """Tell whether the cache knows a model's revision: its commit, or what a branch or tag stands for."""
    folder = cache / f"models--{str(source.repo).replace('/', '--')}"
    revision = source.revision or "main"
    return (folder / "refs" / revision).is_file() or (folder / "snapshots" / revision).is_dir()


def _of_a_status(status: int, repo: str) -> BackendError:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return KeyRejectedError(
            f"the hub refuses {repo} ({status}); check HF_TOKEN: it may have expired or lack read access"
        )
    wait = "too many downloads; wait some minutes" if status == _TOO_MANY else "try again later"
    return UnreachableError(f"the hub answered {status} for {repo}; {wait}, what has arrived is kept")


def _of_the_disk(error: BaseException, source: ModelSource, cache: Path) -> BackendError | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return BackendError(
            f"the disk of {cache} is full; free some space or set HF_HOME to a folder on another disk, then try again: "
            f"the download of {source.name} goes on where it stopped"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return BackendError(f"{error.filename or cache} cannot be written; set HF_HOME to a folder that can be")
    return None


def _of_the_network(error: BaseException, source: ModelSource, _cache: Path) -> BackendError | None:
    # ConnectionError covers what Python itself raises, TransportError what the HTTP client does.
    if isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError):
        return UnreachableError(
            f"the hub cannot be reached for {source.name} ({_line(error)}); check the network (HF_ENDPOINT names "
            "another hub) and try again: what has arrived is kept"
        )
    return None


def _word(source: ModelSource) -> str:
    return f"{source.repo}@{source.revision}" if source.revision else str(source.repo)


def _line(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return (words or type(error).__name__)[:200]
