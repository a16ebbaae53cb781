"""The client of the hub of models: finds and fetches models, weights as safetensors only, and explains errors."""

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import httpx2

from dinox_mcp import __version__
from dinox_mcp.backends import local
from dinox_mcp.backends.base import Report, unreported
from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.files import Meter, RemoteFile, Stopped
from dinox_mcp.backends.local.checkpoints.presets import ModelSource, preset_at, variable
from dinox_mcp.errors import BackendError, DinoxError, KeyRejectedError, UnreachableError, UnsupportedError

_DESCRIPTIONS = ["*.json", "*.txt"]  # configuration, vocabularies, the index of the weights
_ELSEWHERE = ["*/*"]  # other formats and sizes of the same model lie in subfolders
COPIED = "copied-"
"""The name of a copy whose commit is not known begins with this; a digest of its weights follows."""
_MARGIN = 50_000_000  # bytes left free on a disk
_SHA256_DIGITS = 64
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY = 401, 403, 429


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub of models. Whatever is None is taken from HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE."""

    endpoint: str | None = None
    cache: Path | None = None
    token: str | None = None
    offline: bool | None = None

    def find(self, source: ModelSource) -> Path | None:
        """Return the folder of a model if all of it is on this machine, without using the network.

        Raises:
            BackendError: The cache cannot be read, or the repository's name is not valid.
        """
        if source.folder is not None:
            return source.folder
        with self.explained(source):
            try:
                folder = self._snapshot(source, local_files_only=True)
            except _library().errors.LocalEntryNotFoundError:
                return None
        return folder if files.is_complete(folder) else None

    def fetch(
        self, source: ModelSource, report: Report = unreported, stop: Event | None = None, *, update: bool = False
    ) -> Path:
        """Return the folder of a model, after downloading what is missing; runs in a worker thread.

        A model that is here is used without the network, unless `update` checks for a newer one and repairs what is
        damaged. A download that was interrupted, or cancelled by the event `stop`, goes on where it stopped.

        Raises:
            BackendError: In one line, what is wrong and what to do.
            Stopped: The event was set.
        """
        found = self.find(source)
        if found and (not update or found == source.folder):
            return found
        try:
            with self.explained(source):
                return self._download(source, report, stop or Event(), renew=update)
        except UnreachableError:
            if found:
                return found
            raise

    def describe(self, source: ModelSource) -> Any:  # noqa: ANN401 - of huggingface_hub
        """Return what the hub knows of a model: its commit, and its files with their sizes."""
        library = _library()
        if self.offline:
            raise library.errors.OfflineModeIsEnabled
        api = library.HfApi(endpoint=self.endpoint, token=self.token)
        return api.model_info(str(source.repo), revision=source.revision, files_metadata=True, timeout=10)

    def address(self, source: ModelSource, name: str, commit: str) -> str:
        """Return where a file of a model is, at the hub or its mirror."""
        url: str = _library().hf_hub_url(str(source.repo), name, revision=commit, endpoint=self.endpoint)
        return url

    def folder(self, source: ModelSource) -> Path:
        """Return the folder of a repository in the cache, which other programs share."""
        cache = self.cache or Path(_library().constants.HF_HUB_CACHE)
        return cache / f"models--{str(source.repo).replace('/', '--')}"

    @contextmanager
    def explained(self, source: ModelSource) -> Iterator[None]:
        """Turn any error of the hub's library or the network into a BackendError.

        Raises:
            BackendError: Or one of its kinds.
        """
        try:
            yield
        except (DinoxError, Stopped):
            raise
        except Exception as error:  # a mirror that answers nonsense can make the library raise anything
            raise _explain(error, source, self.folder(source)) from error

    def _download(self, source: ModelSource, report: Report, stop: Event, *, renew: bool) -> Path:
        subject = str(source.repo)
        report(0.0, f"contacting the hub for {subject}")
        info = self.describe(source)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if "/" not in file.rfilename}
        files.require_files(subject, sizes, reads_text=False)
        folder = self._snapshot(source, force_download=renew)
        files.require_files(subject, sizes, reads_text=files.reads_text(folder))
        files.family(folder, source.role)  # one that cannot run is refused before its gigabytes are fetched
        weights = files.weight_files(folder, sizes)
        self._download_weights(source, str(info.sha), {name: sizes[name] for name in weights}, report, stop)
        return self._snapshot(source, allow_patterns=[*_DESCRIPTIONS, *weights])

    def _download_weights(
        self, source: ModelSource, commit: str, sizes: Mapping[str, int], report: Report, stop: Event
    ) -> None:
        """Put the weights into the cache of the hub's own library.

        Not by that library: its `hf_hub_download` (2.4) deletes what has arrived when it fails or is cancelled, so
        that gigabytes start from zero, and it compares sizes but no checksums.
        """
        library, kept = _library(), self.folder(source)
        headers = library.utils.build_hf_headers(
            token=self.token, library_name="dinox-mcp", library_version=__version__
        )
        wanted: dict[Path, RemoteFile] = {}
        for name in sizes:
            url = self.address(source, name, commit)
            known = library.get_hf_file_metadata(url, token=self.token, endpoint=self.endpoint, timeout=10)
            etag = str(known.etag)
            sha256 = etag if len(etag) == _SHA256_DIGITS else None
            wanted[kept / "blobs" / etag] = RemoteFile(url, known.size or sizes[name], sha256, headers)
        require_space({target: file.size for target, file in wanted.items()})
        meter = Meter(report, sum(file.size for file in wanted.values()), str(source.repo))
        locks = kept.parent / ".locks" / kept.name
        for target, file in wanted.items():
            files.fetch(library.get_session(), file, target, locks / f"{target.name}.lock", meter, stop)

    def _snapshot(self, source: ModelSource, **options: Any) -> Path:  # noqa: ANN401 - of `snapshot_download`
        options = {"allow_patterns": _DESCRIPTIONS, "ignore_patterns": _ELSEWHERE, **options}
        if self.offline:
            options["local_files_only"] = True
        return Path(
            _library().snapshot_download(
                source.repo,
                revision=source.revision,
                cache_dir=self.cache,
                endpoint=self.endpoint,
                token=self.token,
                **options,
            )
        )


def title(source: ModelSource, folder: Path) -> str:
    """Return a model's name in results: its repository and the first digits of its commit, or its folder.

    A copy whose commit nobody knows has the digits of its weights.
    """
    if source.folder is not None:
        return source.folder.name
    commit = folder.name if folder.name.startswith(COPIED) else folder.name[:7]
    return f"{source.repo}@{commit}"


def _library() -> ModuleType:
    """Import huggingface_hub without its telemetry and its output on the terminal."""
    local.disable_telemetry()
    import huggingface_hub
    import huggingface_hub.constants
    import huggingface_hub.errors
    import huggingface_hub.utils
    from huggingface_hub.utils.tqdm import disable_progress_bars

    huggingface_hub.utils.logging.set_verbosity_error()
    disable_progress_bars()
    return huggingface_hub


def require_space(wanted: Mapping[Path, int]) -> None:
    """Refuse files of these sizes that do not fit on the disk, before they take an hour.

    Raises:
        BackendError: the disk is too full.
    """
    needed = 0
    for target, size in wanted.items():
        part = target.with_name(f"{target.name}.incomplete")
        here = next((path.stat().st_size for path in (target, part) if path.exists()), 0)
        needed += max(0, size - here)
    if not needed:
        return
    folder = next(path for path in next(iter(wanted)).parents if path.exists())
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise BackendError(
            f"the disk is too full: the model needs {needed / 1e6:.0f} MB more and {folder} has {free / 1e6:.0f} MB; "
            "free some, or set HF_HOME to a folder on another disk"
        )


def _explain(error: BaseException, source: ModelSource, kept: Path) -> BackendError:
    """Choose the cause with the best explanation: the library wraps some errors in others."""
    causes = list(_causes(error))
    for explain in (_of_the_hub, _of_the_disk, _of_the_network):
        for cause in causes:
            found = explain(cause, source, kept)
            if found:
                return found
    return BackendError(f"{source.name} could not be downloaded: {_line(error)}; try again, it goes on from here")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_the_hub(error: BaseException, source: ModelSource, kept: Path) -> BackendError | None:
    from huggingface_hub import errors

    repo = source.repo
    found: BackendError | None = None
    match error:
        case errors.OfflineModeIsEnabled():
            state = "incomplete" if _has_begun(source, kept) else "not"
            found = UnreachableError(
                f"{source.name} is {state} on this machine and HF_HUB_OFFLINE forbids fetching it; unset that and run "
                f"'dinox-mcp pull {_word(source)}', or set {variable(source.role)} to a model's folder"
            )
        case errors.GatedRepoError():
            found = KeyRejectedError(
                f"{repo} is gated; sign in to the hub, accept the licence on the page of {repo}, wait until access is "
                "granted, then set HF_TOKEN to a token of that account (read access)"
            )
        case errors.RevisionNotFoundError() if (preset := preset_at(source)) and preset.revision:
            found = UnsupportedError(
                f"{repo} has no commit {preset.revision[:7]}, which this preset uses (a mirror may lack it); set "
                f"{variable(source.role)}={repo} to use the newest there"
            )
        case errors.RevisionNotFoundError():
            found = UnsupportedError(
                f"{repo} has no revision {source.revision!r}; name a tag, a branch or a commit (all 40 digits), or "
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


def _has_begun(source: ModelSource, kept: Path) -> bool:
    """Return whether the cache has a model's revision: its commit, or the commit of a branch or tag."""
    revision = source.revision or "main"
    return (kept / "refs" / revision).is_file() or (kept / "snapshots" / revision).is_dir()


def _of_a_status(status: int, repo: str) -> BackendError:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return KeyRejectedError(
            f"the hub refuses {repo} ({status}); check HF_TOKEN: it may have expired or lack read access"
        )
    wait = "too many downloads; wait some minutes" if status == _TOO_MANY else "try again later"
    return UnreachableError(f"the hub answered {status} for {repo}; {wait}, what has arrived is kept")


def _of_the_disk(error: BaseException, source: ModelSource, kept: Path) -> BackendError | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return BackendError(
            f"the disk of {kept} is full; free some space or set HF_HOME to a folder on another disk, then try again: "
            f"the download of {source.name} goes on where it stopped"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return BackendError(f"{error.filename or kept} cannot be written; set HF_HOME to a folder that can be")
    return None


def _of_the_network(error: BaseException, source: ModelSource, _kept: Path) -> BackendError | None:
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
    return " ".join(str(error).split())[:200] or type(error).__name__
