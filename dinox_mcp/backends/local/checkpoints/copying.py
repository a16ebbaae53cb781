"""Models for a machine without a network: the list of their files, and a folder that was copied by hand."""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from dinox_mcp.backends.base import Report, unreported
from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.hub import COPIED, Hub, require_space
from dinox_mcp.backends.local.checkpoints.presets import ModelSource, preset_at
from dinox_mcp.errors import BackendError, UnsupportedError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a model needs: where it is, and its size in bytes and SHA-256 where the hub has them."""

    name: str
    url: str
    size: int | None
    sha256: str | None


def listing(hub: Hub, source: ModelSource) -> tuple[str, list[Listed]]:
    """Return the commit of a model of the hub, and its files, without downloading them.

    Raises:
        BackendError: the hub does not answer, or has no such model.
    """
    with hub.explained(source):
        info = hub.describe(source)
        found = {file.rfilename: file for file in info.siblings or () if "/" not in file.rfilename}
        files.require_files(str(source.repo), found, reads_text=False)
        commit = str(info.sha)
        return commit, [
            Listed(name, hub.address(source, name, commit), found[name].size, getattr(found[name].lfs, "sha256", None))
            for name in (*_descriptions(found), *_weights(found))
        ]


def adopt(hub: Hub, source: ModelSource, folder: Path, report: Report = unreported) -> Path:
    """Copy a model's folder into the cache of the hub, so that the model is used as if it had been downloaded.

    The files are checked as those of a download are; the weights against their checksum where the preset has it.
    Without a commit in `source`, the copy is named by its weights, not by a commit that nobody knows.

    Returns:
        The folder in the cache.

    Raises:
        BackendError: a file is missing, damaged or not of this model, or the disk is too full.
    """
    if source.repo is None:
        raise UnsupportedError(f"{source.folder} is a folder already; name it in DINOX_MCP_MODEL to use it as it is")
    if not folder.is_dir():
        raise BackendError(f"{folder} is not a folder; name the one with the model's config.json and model.safetensors")
    names, weights, digest = _check(source, folder, report)
    named = source.revision is not None and _COMMIT.fullmatch(source.revision) is not None
    commit = str(source.revision) if named else f"{COPIED}{digest[:_DIGITS]}"
    with hub.explained(source):
        kept = hub.folder(source)
        target = kept / "snapshots" / commit
        wanted = [*_descriptions(names), *weights]
        require_space({target / name: (folder / name).stat().st_size for name in wanted})
        target.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(wanted):
            report(number / len(wanted), f"copying {name}")
            part = target / f"{name}.incomplete"
            shutil.copyfile(folder / name, part)
            part.replace(target / name)
        reference = kept / "refs" / ("main" if named else source.revision or "main")
        if not named or not reference.exists():  # so that the name without a commit means the copy, too
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(commit, encoding="ascii")
    return target


def _check(source: ModelSource, folder: Path, report: Report) -> tuple[set[str], list[str], str]:
    """Check a copied folder; return the names of its files, those with weights, and the SHA-256 of these."""
    try:
        names = {path.name for path in folder.iterdir() if path.is_file()}
        files.require_files(str(folder), names, reads_text=files.reads_text(folder))
        files.family(folder, source.role)
        weights = files.weight_files(folder, names)
        report(0.0, f"checking {folder}")
        files.weights_size(folder)
        digest = _digest(folder / name for name in weights)
    except OSError as error:
        raise BackendError(f"{folder} cannot be read ({error}); check its permissions, or copy it again") from error
    preset = preset_at(source)
    if preset and preset.sha256 and digest != preset.sha256:
        raise BackendError(
            f"the weights in {folder} are not those of {source.name}: their SHA-256 is {digest[:_DIGITS]}… instead of "
            f"{preset.sha256[:_DIGITS]}…; copy them again, or name the folder in DINOX_MCP_MODEL to use it as it is"
        )
    return names, weights, digest


def _descriptions(names: Collection[str]) -> list[str]:
    """Return which of the files in a repository or folder describe a model."""
    unused = {files.INDEX} if files.WEIGHTS in names else set()
    return sorted(name for name in names if Path(name).suffix in {".json", ".txt"} and name not in unused)


def _weights(names: Collection[str]) -> list[str]:
    """Return which of the files in a repository hold weights, as far as their names show."""
    return [files.WEIGHTS] if files.WEIGHTS in names else sorted(filter(files.SHARD.fullmatch, names))


def _digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of a file, or of several one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # goes on with it
    return digest.hexdigest()
