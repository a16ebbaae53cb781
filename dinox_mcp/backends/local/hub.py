"""Fetches models from the hub, weights as safetensors only, and finds those that are on this machine already."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

from dinox_mcp import __version__
from dinox_mcp.backends.local import checkpoint, extra, hub_faults
from dinox_mcp.backends.local.presets import ModelSource
from dinox_mcp.backends.local.transfer import Meter, Progress, RemoteFile, Stopped, fetch, silent
from dinox_mcp.errors import BackendError, UnreachableError

__all__ = ["Hub", "Progress", "Stopped", "title"]

_DESCRIPTIONS = ["*.json", "*.txt"]  # configuration, vocabularies, the index of the weights
_ELSEWHERE = ["*/*"]  # other formats and sizes of the same model lie in subfolders
_MARGIN = 50_000_000  # bytes left free on a disk
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub of models. Whatever is None is taken from HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE."""

    endpoint: str | None = None
    cache: Path | None = None
    token: str | None = None
    offline: bool | None = None

    def find(self, source: ModelSource) -> Path | None:
        """Give the folder of a model if all of it is on this machine; asks no network.

        Raises:
            BackendError: the cache cannot be read, or the repository's name is impossible.
        """
        if source.folder is not None:
            return source.folder
        library = _library()
        with hub_faults.explained(source, self._cache()):
            try:
                folder = Path(self._snapshot(library, source, local_files_only=True))
            except library.errors.LocalEntryNotFoundError:
                return None
        return folder if checkpoint.is_complete(folder) else None

    def fetch(
        self, source: ModelSource, report: Progress = silent, stop: Event | None = None, *, update: bool = False
    ) -> Path:
        """Give the folder of a model, downloading what is missing; runs in a worker thread.

        A model that is here is used as it is: no network is asked, unless for an `update`, which also repairs what
        is damaged. A download that was interrupted, or cancelled by the event `stop`, goes on where it was.

        Raises:
            BackendError: in one line, what is wrong and what to do.
            Stopped: the event was set.
        """
        found = self.find(source)
        if found and (not update or found == source.folder):
            return found
        try:
            with hub_faults.explained(source, self._cache()):
                return self._download(source, report, stop or Event(), renew=update)
        except UnreachableError:
            if found:
                return found
            raise

    def _download(self, source: ModelSource, report: Progress, stop: Event, *, renew: bool) -> Path:
        library = _library()
        if self.offline:
            raise library.errors.OfflineModeIsEnabled
        subject = str(source.repo)
        report(0, 0, f"asking the hub for {subject}")
        api = library.HfApi(endpoint=self.endpoint, token=self.token)
        info = api.model_info(subject, revision=source.revision, files_metadata=True, timeout=10)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if "/" not in file.rfilename}
        checkpoint.require_files(subject, sizes, reads_text=False)
        folder = Path(self._snapshot(library, source, force_download=renew))
        checkpoint.require_files(subject, sizes, reads_text=checkpoint.reads_text(folder))
        checkpoint.family(folder, source.role)  # one that cannot run is refused before its gigabytes are fetched
        weights = checkpoint.weight_files(folder, sizes)
        self._download_weights(library, subject, str(info.sha), {name: sizes[name] for name in weights}, report, stop)
        return Path(self._snapshot(library, source, allow_patterns=[*_DESCRIPTIONS, *weights]))

    def _download_weights(
        self,
        library: ModuleType,
        repo: str,
        commit: str,
        sizes: Mapping[str, int],
        report: Progress,
        stop: Event,
    ) -> None:
        """Put the weights where the hub's own library looks for them. It would start from zero after a failure."""
        own = f"models--{repo.replace('/', '--')}"
        blobs, locks = self._cache() / own / "blobs", self._cache() / ".locks" / own
        headers = library.utils.build_hf_headers(
            token=self.token, library_name="dinox-mcp", library_version=__version__
        )
        files: dict[Path, RemoteFile] = {}
        for name in sizes:
            url = library.hf_hub_url(repo, name, revision=commit, endpoint=self.endpoint)
            known = library.get_hf_file_metadata(url, token=self.token, endpoint=self.endpoint, timeout=10)
            etag = str(known.etag)
            sha256 = etag if len(etag) == _SHA256_DIGITS else None
            files[blobs / etag] = RemoteFile(url, known.size or sizes[name], sha256, headers)
        _require_room(files)
        meter = Meter(report, sum(file.size for file in files.values()), repo)
        for target, file in files.items():
            fetch(library.get_session(), file, target, locks / f"{target.name}.lock", meter, stop)

    def _snapshot(self, library: ModuleType, source: ModelSource, **options: Any) -> str:  # noqa: ANN401
        options = {"allow_patterns": _DESCRIPTIONS, "ignore_patterns": _ELSEWHERE, **options}
        if self.offline:
            options["local_files_only"] = True
        folder: str = library.snapshot_download(
            source.repo,
            revision=source.revision,
            cache_dir=self.cache,
            endpoint=self.endpoint,
            token=self.token,
            tqdm_class=_silent_bar(),
            **options,
        )
        return folder

    def _cache(self) -> Path:
        return self.cache or Path(_library().constants.HF_HUB_CACHE)


def title(source: ModelSource, folder: Path) -> str:
    """Name a model as answers do: its repository and the first digits of its commit, or its folder."""
    if source.folder is not None:
        return source.folder.name
    return f"{source.repo}@{folder.name[:7]}"


def _library() -> ModuleType:
    """Import huggingface_hub, which tells nobody about this machine and writes nothing on the terminal."""
    extra.require()
    import huggingface_hub
    import huggingface_hub.constants
    import huggingface_hub.errors
    import huggingface_hub.utils

    huggingface_hub.utils.logging.set_verbosity_error()
    return huggingface_hub


def _silent_bar() -> Callable[..., Any]:
    from tqdm import tqdm

    class SilentBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
            super().__init__(*args, **{**options, "disable": True})

    return SilentBar


def _require_room(files: Mapping[Path, RemoteFile]) -> None:
    """Refuse a download that the disk has no room for, before it takes an hour."""
    needed = 0
    for target, file in files.items():
        part = target.with_name(f"{target.name}.incomplete")
        here = next((path.stat().st_size for path in (target, part) if path.exists()), 0)
        needed += max(0, file.size - here)
    if not needed:
        return
    folder = next(path for path in next(iter(files)).parents if path.exists())
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise BackendError(
            f"the disk is too full: the model needs {needed / 1e6:.0f} MB more and {folder} has {free / 1e6:.0f} MB; "
            "free some, or set HF_HOME to a folder on another disk"
        )
