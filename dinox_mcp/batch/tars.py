"""WebDataset shards: tar files whose members are grouped into samples by their names.

The name of a member up to the first dot after its folders is the key of its sample, the rest is its field:
"train/0001.seg.png" is the field "seg.png" of the sample "train/0001". The members of a sample follow one another.
A member's name is only a name: nothing is unpacked, and nothing is written.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from dinox_mcp.batch.sources import check_size, reason_of
from dinox_mcp.errors import ImageError, InputError
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.settings import MiB
from dinox_mcp.types.text import number_of

MOST = 10_000_000
"""Images of a tar that are listed at most."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BLOCK = 512
_LONGEST_NAME = 2048
_LONGEST_HEADER = MiB
_MEMBERS_PER_IMAGE = 16
_LARGEST_SAMPLE = 10_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a tar: its name, and where its bytes are."""

    name: str
    begin: int
    size: int


@dataclass(slots=True)
class Shard:
    """The images of a tar in its order.

    Attributes:
        images: one of each sample, or several where no field is a plain ending such as "jpg".
        damage: why the rest of the file cannot be read; empty if all of it can.
        beside: images of samples that were not chosen, by their fields.
        without: samples without an image.
        repeated: members whose name an earlier one has.
    """

    images: list[Member] = field(default_factory=list)
    damage: str = ""
    beside: dict[str, int] = field(default_factory=dict)
    without: int = 0
    repeated: int = 0

    def notes(self, shown: str) -> Iterator[str]:
        """Give what the caller must know about the tar that messages call `shown`."""
        if self.beside:
            fields = ", ".join(f"{number:,} {name}" for name, number in list(self.beside.items())[:_SHOWN])
            yield f"'{shown}' has further images in its samples ({fields}), which are left out; choose them by --column"
        if self.without:
            yield f"'{shown}' has {number_of(self.without, 'sample')} without an image"
        if self.repeated:
            yield f"'{shown}' repeats {number_of(self.repeated, 'name')}; the first file of each is taken"


def list_members(file: BinaryIO, shown: str, most: int, column: str | None = None) -> Shard:
    """List the images of a tar by reading its headers. Blocks.

    Args:
        file: the tar.
        shown: what messages call it.
        most: the number of images that it may have.
        column: the field to take of each sample, such as "jpg" or "left.png"; by default, the first that is a plain
            ending of images, or else all that end like images.

    Raises:
        ImageError: it is not a tar.
        InputError: it has too many images, or no sample has the field.
    """
    shard, names = Shard(), set[str]()
    wanted = column.lower().lstrip(".") if column is not None else None
    fields: dict[str, int] = {}
    for sample in _samples(_members(file, shown, shard, most * _MEMBERS_PER_IMAGE), fields):
        chosen = _choose(sample, wanted)
        shard.without += not chosen
        for ending, member in sample:
            name = _unpacked(member.name)
            if name in names:
                shard.repeated += 1
            elif member in chosen:
                names.add(name)
                shard.images.append(member)
            elif _is_image(ending):
                shard.beside[ending] = shard.beside.get(ending, 0) + 1
        if len(shard.images) > most:
            raise InputError(f"'{shown}' has more than {most:,} images; split it")
    if not shard.images and not shard.damage:
        found = ", ".join(sorted(fields, key=lambda name: -fields[name])[:_SHOWN]) or "none"
        wanted_field = f"no field {wanted!r:.80}" if wanted is not None else "no images"
        raise InputError(
            f"'{shown}' has {wanted_field} in its samples, whose fields are {found}; pass another file, or name the "
            "field of images by --column"
        )
    return shard


def read_member(file: BinaryIO, member: Member, shown: str, max_bytes: int) -> bytes:
    """Read the bytes of an image. Blocks.

    Raises:
        ForbiddenError: they are too many.
        ImageError: the tar ends before, or was changed so that the image is elsewhere in it.
    """
    check_size(f"'{shown}'", member.size, max_bytes)
    try:
        file.seek(member.begin - _BLOCK)
        header = file.read(_BLOCK)
        data = file.read(member.size)
    except OSError as error:
        raise ImageError(f"'{shown}' cannot be read ({error.strerror or error}); check its disk") from None
    try:
        size = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
    except tarfile.TarError:
        size = -1
    if size != member.size:
        raise ImageError(f"'{shown}' is not where it was in its tar, which was changed; choose another --out")
    if len(data) < member.size:
        raise ImageError(f"'{shown}' is cut off; get the file again")
    return data


class _Headers:
    """A file of which only headers are read: one that claims to be larger would be taken into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _members(file: BinaryIO, shown: str, shard: Shard, most: int) -> Iterator[Member]:
    """Give the regular files of a tar; what is wrong behind the first one is noted as the damage of the shard."""
    end = file.seek(0, 2)
    file.seek(0)
    number = 0
    try:
        with tarfile.open(fileobj=cast("BinaryIO", _Headers(file)), mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # or each header stays in memory
                number += 1
                if number > most:
                    raise InputError(f"'{shown}' has more than {most:,} files; split it")
                if info.isreg() and not info.issparse() and len(info.name) <= _LONGEST_NAME:
                    if info.offset_data + info.size > end:
                        break
                    yield Member(info.name, info.offset_data, info.size)
            file.seek(tar.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile ends at a damaged header as if it were the end
                shard.damage = "it has no end, so it is cut off or damaged"
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        if not number:
            raise ImageError(f"'{shown}' is not a tar file ({reason_of(error)}); pass an intact one") from None
        shard.damage = reason_of(error)
    if shard.damage:
        shard.damage = f"'{shown}' is damaged after {number:,} files ({shard.damage}); get the file again"


def _samples(members: Iterator[Member], fields: dict[str, int]) -> Iterator[Sequence[tuple[str, Member]]]:
    """Group members that follow one another by their key; `fields` counts the fields."""
    sample: list[tuple[str, Member]] = []
    last = None
    for member in members:
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        key, ending = (folder, stem), ending.lower()
        if not stem or "/__" in f"/{member.name}":
            continue  # hidden: what macOS and WebDataset add
        if sample and (key != last or len(sample) >= _LARGEST_SAMPLE):
            yield sample
            sample = []
        last = key
        if ending in fields or len(fields) < _MEMBERS_PER_IMAGE:
            fields[ending] = fields.get(ending, 0) + 1
        sample.append((ending, member))
    if sample:
        yield sample


def _choose(sample: Sequence[tuple[str, Member]], wanted: str | None) -> list[Member]:
    """Choose the images of a sample."""
    if wanted is not None:
        return [member for ending, member in sample if ending == wanted]
    plain = [member for ending, member in sample if f".{ending}" in SUFFIXES]
    return plain[:1] or [member for ending, member in sample if _is_image(ending)]


def _unpacked(name: str) -> str:
    """Give the path that a member would have if it were unpacked: "./a.jpg" and "a.jpg" are one file."""
    return "/".join(part for part in name.split("/") if part not in {"", ".", ".."})


def _is_image(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in SUFFIXES
