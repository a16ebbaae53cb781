"""The plan of a run: its request, and which images make up each shard. It only grows, so that a run can be continued.

`manifest.json` has the request and the shards. `images.jsonl` has a line for each image, in the order of the shards. It
takes 100 MB for a million images, and a process that works on a shard reads only the lines of that shard.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dinox_mcp.batch.journal import difference
from dinox_mcp.batch.sources import Entry
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.store.files import open_regular, write_atomically

MANIFEST, IMAGES = "manifest.json", "images.jsonl"
SHARD_SIZE = 500
"""Images of a shard, unless the caller wants another number."""
_FORMAT = 1
_PRIVATE = 0o600  # only this user may read it


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive images of a run, which are finished together.

    Attributes:
        number: counts from 0.
        images: how many there are.
        at: where the first of their lines is in the file of images, in bytes.
        first: the source of the first one.
    """

    number: int
    images: int
    at: int
    first: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The plan of a run.

    Attributes:
        header: all that decides what is found; a run is continued only with an equal one.
        shards: in order; together they have each image once.
        end: the bytes of the file of images that belong to them.
    """

    header: Mapping[str, Any]
    shards: tuple[Shard, ...] = ()
    end: int = 0

    @property
    def images(self) -> int:
        """The number of images of all shards."""
        return sum(shard.images for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """The same for equal headers only."""
        return hashlib.sha256(json.dumps(self.header, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Change:
    """How a source differs from a plan.

    Attributes:
        new: the images that the plan does not have, in groups.
        gone: how many images of finished shards the source does not have any more.
        changed: how many images of finished shards have other files now.
    """

    new: tuple[tuple[Entry, ...], ...]
    gone: int = 0
    changed: int = 0


def open_manifest(run: Path, header: Mapping[str, Any], *, may_replace: bool = False) -> Manifest:
    """Read the plan of a run, or begin one; with `may_replace` also in place of that of another request. Blocks.

    Raises:
        InputError: the folder has a run of another request, or something else.
    """
    if not os.path.lexists(run / MANIFEST):
        return Manifest(header)
    manifest = read_manifest(run)
    changed = difference(manifest.header, header)
    if changed and may_replace:
        return Manifest(header)
    if changed:
        raise InputError(f"the run in {run} was begun with {changed}; choose another --out, or the same request")
    return manifest


def read_manifest(run: Path) -> Manifest:
    """Read the plan of a run. Blocks.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = run / MANIFEST
    try:
        with open_regular(path) as file:
            data = json.load(file)
        shards = tuple(Shard(number, **one) for number, one in enumerate(data["shards"]))
        return Manifest({_FORMAT: data["header"]}[data["format"]], shards, int(data["end"]))
    except FileNotFoundError:
        raise InputError(f"there is no run in {run}; pass the folder of one") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged or of another version; choose another --out") from None


def compare(run: Path, manifest: Manifest, groups: Sequence[Sequence[Entry]], finished: Collection[int]) -> Change:
    """Compare the images of a source with a plan; `finished` are the numbers of finished shards. Blocks."""
    listed = {entry.source: entry.stamp for group in groups for entry in group}
    gone = changed = 0
    for shard in manifest.shards:
        counts = shard.number in finished
        for entry in read_entries(run, shard):
            stamp = listed.pop(entry.source, None)
            gone += counts and stamp is None
            changed += counts and stamp is not None and stamp != entry.stamp
    new = (tuple(one for one in group if listed.pop(one.source, None) is not None) for group in groups)
    return Change(tuple(group for group in new if group), gone, changed)


def extend(run: Path, manifest: Manifest, new: Iterable[Sequence[Entry]], size: int) -> Manifest:
    """Add images to a plan, as shards of at most `size` images at its end, and write it to the disk. Blocks.

    What is planned stays, and a shard has only images of one group.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        descriptor = os.open(run / IMAGES, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), _PRIVATE)
        with os.fdopen(descriptor, "r+b") as file:
            file.truncate(manifest.end)  # a process that was killed may have written more than it planned
            file.seek(manifest.end)
            shards = list(manifest.shards)
            for group in new:
                for begin in range(0, len(group), size):
                    entries = group[begin : begin + size]
                    shards.append(Shard(len(shards), len(entries), file.tell(), entries[0].source))
                    file.writelines(f"{json.dumps([one.source, one.stamp])}\n".encode() for one in entries)
            extended = Manifest(manifest.header, tuple(shards), file.tell())
            file.flush()
            os.fsync(file.fileno())
        _write(run, extended)
    except OSError as error:
        raise SettingsError(f"the run cannot be kept in {run} ({error.strerror}); choose another --out") from None
    return extended


def read_entries(run: Path, shard: Shard) -> Iterator[Entry]:
    """Read the images of a shard. Blocks.

    Raises:
        SettingsError: the file of images is damaged.
    """
    path = run / IMAGES
    try:
        with open_regular(path) as file:
            file.seek(shard.at)
            for _ in range(shard.images):
                source, stamp = json.loads(file.readline())
                yield Entry(source, stamp)
    except (OSError, TypeError, ValueError):
        raise SettingsError(f"{path} is damaged; choose another --out to begin anew") from None


def _write(run: Path, manifest: Manifest) -> None:
    shards = [{name: value for name, value in asdict(one).items() if name != "number"} for one in manifest.shards]
    head = {
        "format": _FORMAT,
        "fingerprint": manifest.fingerprint,
        "header": manifest.header,
        "images": manifest.images,
        "end": manifest.end,
    }
    lines = ",\n".join(json.dumps(shard) for shard in shards)
    text = json.dumps(head, indent=1).removesuffix("\n}") + f',\n "shards": [\n{lines}\n]\n}}\n'
    write_atomically(run / MANIFEST, text.encode())
