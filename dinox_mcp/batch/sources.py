"""Which images a job searches: folders, patterns and single images become a list in a fixed order."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path, PurePath

from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError
from dinox_mcp.images.files import allowed_path, open_file
from dinox_mcp.images.formats import SUFFIXES
from dinox_mcp.images.sources import parse_source, shorten
from dinox_mcp.settings import Settings
from dinox_mcp.store import uris
from dinox_mcp.types.text import one_line

MAX_SEEN = 200_000
"""Files and folders that one source may make this module list."""
_DEEPEST = 32
_MAGIC = frozenset("*?[")
_ANY_FOLDERS = "**"
_EVERYTHING = (_ANY_FOLDERS, "*")
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a job: where it is, and for a file its size and time of change, by which a change is noticed."""

    source: str
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a job in order, and what the caller must know about them."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


_Search = Callable[[Path, tuple[str, ...]], tuple[list[Entry], list[str]]]


def canonical(source: str) -> str:
    """Write a source in the way that stays the same in another working folder: a path becomes absolute.

    Raises:
        ImageError: it points nowhere that an image can be read from.
        InputError: it cannot be kept with a job: a `data:` URI, as it is too long, or what is another image later.
    """
    if _is_result(source):
        return source.strip()
    found = parse_source(source)
    if found.kind == "data":
        raise InputError("images has a data: URI, which cannot be kept with a job; pass paths or https:// URLs")
    if found.kind in {"clipboard", "latest"}:
        raise InputError(
            f"images has {shorten(source.strip())!r}, which may be another image when the job continues; pass paths or "
            "https:// URLs, or call another tool for this one"
        )
    page = found.page or ""
    if found.kind != "file" or found.address[1:2] == ":" or found.address.startswith("\\\\"):
        return f"{found.address}{page}"  # a path of Windows is full, or is refused with the way to write it here
    return f"{os.path.abspath(os.path.expanduser(found.address))}{page}"  # noqa: PTH100, PTH111 - no error where no home is known


def list_images(
    sources: Sequence[str],
    settings: Settings,
    most: int,
    *,
    endings: Collection[str] = SUFFIXES,
    most_seen: int | None = None,
) -> Listing:
    """List the images of folders, patterns and single sources, each once. Blocks: call it in a thread.

    A folder stands for all images below it. A pattern may hold `*`, `?`, `[abc]` and `**` for any folders; upper and
    lower case are the same to it. Files and folders whose names begin with a dot are left out unless the pattern names
    them. Links to folders are not followed.

    Args:
        sources: as `canonical` writes them.
        settings: which folders may be read.
        most: the number of images that a job may have.
        endings: the endings of the files that folders and patterns stand for.
        most_seen: files and folders that one source may make this function list; `MAX_SEEN` by default.

    Raises:
        InputError: there are no images, or more than `most`.
        ImageError: the only source does not exist, or may not be read.
    """
    entries: dict[str, Entry] = {}
    notes: list[str] = []
    search = partial(_search, most=most, endings=endings, most_seen=most_seen or MAX_SEEN)
    for source in sources:
        found, more = _list_source(source, settings, search, alone=len(sources) == 1)
        entries.update((entry.source, entry) for entry in found)
        notes += more
        if len(entries) > most:
            raise InputError(
                f"there are more than {most:,} images in {shorten(source)!r}; name a smaller folder, or a pattern such "
                "as FOLDER/2026*/*.jpg"
            )
    return Listing(tuple(entries.values()), tuple(notes))


def _list_source(source: str, settings: Settings, search: _Search, *, alone: bool) -> tuple[list[Entry], list[str]]:
    if _is_result(source):
        return [Entry(source)], []
    found = parse_source(source)
    if found.kind != "file" or found.page is not None:
        return [Entry(source)], []
    try:
        path = allowed_path(source, settings)
        if path.is_dir():
            return search(path, _EVERYTHING)
        if path.exists() or not _MAGIC & set(source):
            if alone:
                open_file(source, settings)[0].close()  # raises where it cannot be read, and proposes another name
            return [file_entry(path) if path.exists() else Entry(source)], []
        parts = PurePath(source).parts
        fixed = next(number for number, part in enumerate(parts) if _MAGIC & set(part))
        return search(allowed_path(str(PurePath(*parts[:fixed])), settings), parts[fixed:])
    except (DinoxError, OSError) as error:
        if not alone:
            return [Entry(source)], []  # loading it says what is wrong, and the other images are searched
        if isinstance(error, OSError):
            raise ImageError(f"'{shorten(source)}' cannot be read ({error.strerror}); pass another path") from None
        raise


def _search(
    folder: Path, pattern: tuple[str, ...], most: int, endings: Collection[str], most_seen: int
) -> tuple[list[Entry], list[str]]:
    """List the images below a folder that match a pattern, by path, and the folders that cannot be read."""
    if ".." in pattern:
        raise InputError(f"the pattern {'/'.join(pattern)!r:.80} has .. after a wildcard; write it without")
    walk = _Walk(tuple(part.casefold() for part in pattern), endings, most_seen)
    entries = list(islice(walk.below(folder), most + 1))  # the caller refuses one too many
    if not entries:
        suffixes = ", ".join(name or "no ending" for name, _ in walk.others.most_common(_MOST_NAMED))
        beside = f" ({walk.others.total()} other files: {suffixes})" if suffixes else ""
        wanted = "" if pattern == _EVERYTHING else f" that matches {'/'.join(pattern)!r:.80}"
        raise InputError(
            f"there is no image in '{shorten(str(folder))}'{wanted}{beside}; name another folder, or a pattern such as "
            "FOLDER/**/*.jpg"
        )
    closed = [f"the folder '{shorten(name)}' cannot be read and is left out" for name in walk.closed[:_MOST_NAMED]]
    return sorted(entries, key=lambda entry: entry.source), closed


class _Walk:
    """A walk through folders along a pattern, which is folded to lower case.

    A state is the set of positions in the pattern that a path may have reached; it has at most as many as the pattern
    has parts, so that no pattern takes long.
    """

    def __init__(self, pattern: tuple[str, ...], endings: Collection[str] = SUFFIXES, most_seen: int = 0) -> None:
        self._pattern, self._endings, self._most_seen = pattern, endings, most_seen
        self._seen = 0
        self.others: Counter[str] = Counter()
        self.closed: list[str] = []

    def below(self, folder: Path) -> Iterator[Entry]:
        """Give the matching images below a folder."""
        waiting = [(folder, self.begin(), 0)]
        while waiting:
            here, state, depth = waiting.pop()
            try:
                with os.scandir(here) as listed:
                    items = list(self._counted(listed, folder))
            except OSError:
                self.closed.append(str(here))
                continue
            for item in items:
                reached = self.step(state, item.name)
                if item.is_dir(follow_symlinks=False):
                    if depth < _DEEPEST and any(at < len(self._pattern) for at in reached):
                        waiting.append((Path(item.path), reached, depth + 1))
                elif self.is_end(reached):
                    ending = PurePath(item.name).suffix.lower()
                    if ending in self._endings:
                        yield file_entry(Path(item.path))
                    else:
                        self.others[ending] += 1

    def _counted(self, items: Iterator["os.DirEntry[str]"], folder: Path) -> Iterator["os.DirEntry[str]"]:
        for item in items:
            self._seen += 1
            if self._seen > self._most_seen:
                raise InputError(
                    f"'{shorten(str(folder))}' has more than {self._most_seen:,} files and folders; name a smaller "
                    "folder"
                )
            yield item

    def begin(self) -> set[int]:
        """Give the positions before any name."""
        return self._skipping({0})

    def is_end(self, state: set[int]) -> bool:
        """Return whether the pattern has been matched to its end."""
        return len(self._pattern) in state

    def step(self, state: set[int], name: str) -> set[int]:
        """Give the positions after a name."""
        folded = name.casefold()
        reached = set()
        for at in state:
            part = self._pattern[at] if at < len(self._pattern) else ""
            if name.startswith(".") and not part.startswith("."):
                continue
            if part == _ANY_FOLDERS:
                reached.add(at)
            elif fnmatchcase(folded, part):
                reached.add(at + 1)
        return self._skipping(reached)

    def _skipping(self, state: set[int]) -> set[int]:
        """Add the positions behind each `**`, which may stand for no folder at all."""
        for at in sorted(state):
            after = at
            while after < len(self._pattern) and self._pattern[after] == _ANY_FOLDERS:
                after += 1
                state.add(after)
        return state


def matches(pattern: str, name: str) -> bool:
    """Return whether a path below a folder, with slashes, matches a pattern as `list_images` reads it."""
    walk = _Walk(tuple(pattern.casefold().split("/")))
    state = walk.begin()
    for part in name.split("/"):
        state = walk.step(state, part)
    return walk.is_end(state)


def file_entry(path: Path) -> Entry:
    """Make the entry of a file."""
    try:
        status = path.stat()
    except OSError:
        return Entry(str(path))
    return Entry(str(path), f"{status.st_size}-{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else "")


def check_size(shown: str, size: int, most: int) -> None:
    """Refuse an image of too many bytes.

    Raises:
        ForbiddenError: it has more than `most`.
    """
    if size > most:
        raise ForbiddenError(
            f"{shown} has {size:,} bytes, more than the {most:,} allowed; pass a smaller image or raise "
            "DINOX_MCP_MAX_IMAGE_BYTES"
        )


def reason_of(error: Exception) -> str:
    """Return what an error of a library says, on one line of bounded length."""
    return shorten(one_line(str(error)) or type(error).__name__, 160)


def _is_result(source: str) -> bool:
    return source.strip().lower().startswith(uris.SCHEME)
