"""Results of images, by unguessable id: bounded in number and bytes, and separate for each tenant."""

import secrets
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import anyio.to_thread
from pydantic import ValidationError

from dinox_mcp.errors import DinoxError, ImageError, NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.shared import SharedStore, damaged, kept_here_alone
from dinox_mcp.types.detection import Detection, DetectionRequest, DetectionResult, Value

_REQUEST_BYTES, _OBJECT_BYTES, _KEYPOINT_BYTES = 1300, 750, 1070  # without strings: measured with tracemalloc
_UNKNOWN = "*"  # all unknown tenants together; no tenant has this name
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def new_result_id() -> str:
    """Make an id of 80 random bits that a model copies without mistakes: no upper case, no similar characters."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


class Stored(NamedTuple):
    """A result with the image that was searched."""

    result: DetectionResult
    picture: Picture


class _Entry(NamedTuple):
    """A result in memory, the tenant that it counts for, and the bytes of the result and of its image."""

    stored: Stored
    owner: str
    size: int
    image: str
    image_size: int


class _Usage:
    """What the results of all tenants or of one take: each image counts once."""

    def __init__(self) -> None:
        self.results = self.bytes = 0
        self._images: Counter[str] = Counter()

    def change(self, entry: _Entry, by: int) -> None:
        """Add an entry (`by` is 1), or take it away (-1)."""
        self.results += by
        self.bytes += by * entry.size
        self._images[entry.image] += by
        if self._images[entry.image] == max(by, 0):  # the first result of this image, or the last
            self.bytes += by * entry.image_size
        if not self._images[entry.image]:
            del self._images[entry.image]


class _Record(Value):
    """A result in a shared store, with what is known of its image besides the bytes."""

    result: DetectionResult
    digest: str
    source: str
    origin: str
    pixels_per_point: float | None


class Store:
    """Keeps results for later calls: in memory, and where there is one, in a store that several servers share.

    A tenant is whoever may read a result: an empty string on the user's own machine, a digest of the API key over
    HTTP. If there are too many results or bytes, those of the tenant that uses most are removed first, the least
    recently used one before others, so that no tenant can displace another. All unknown tenants count as one:
    invented keys cannot displace known tenants. The bytes of an image that several results share are in memory once.
    """

    def __init__(self, max_results: int, max_bytes: int, shared: SharedStore | None = None) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._shared = shared
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._all = _Usage()
        self._of_owner: defaultdict[str, _Usage] = defaultdict(_Usage)

    async def keep(
        self, result: DetectionResult, picture: Picture, tenant: str = "", *, known: bool = True
    ) -> DetectionResult:
        """Keep a result as `put` does, and in the shared store too.

        Returns:
            The result, with a note if the shared store does not work.
        """
        if self._shared is not None:
            counts_as_known = known or tenant in self._of_owner
            try:
                work = partial(_share, self._shared, result, picture, tenant, known=counts_as_known)
                await anyio.to_thread.run_sync(work)
            except DinoxError as error:
                result = result.model_copy(update={"notes": (*result.notes, kept_here_alone(error))})
        return self.put(result, picture, tenant, known=known)

    async def fetch(self, result_id: str, tenant: str = "") -> Stored:
        """Fetch a result and its image as `get` does, or else from the shared store.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, was removed, or is damaged.
            SettingsError: the folder of the shared store cannot be read.
            UnreachableError: the shared store does not answer.
        """
        if self._shared is None or (tenant, result_id) in self._entries:
            return self.get(result_id, tenant)
        found = await anyio.to_thread.run_sync(_find, self._shared, result_id, tenant)
        if found is not None and (tenant, result_id) not in self._entries:
            self.put(found.result, found.picture, tenant, known=False)
        return self.get(result_id, tenant)

    def put(
        self, result: DetectionResult, picture: Picture, tenant: str = "", *, known: bool = True
    ) -> DetectionResult:
        """Keep a result in memory, and remove others until everything fits; the newest is never removed.

        `known` says that the tenant is not an invented one; it counts as known while it has results.
        """
        same = (entry.stored.picture.data for entry in self._entries.values() if entry.image == picture.digest)
        data = next(same, picture.data)
        # Only the bytes are shared: the source of an image is nobody's business but its tenant's.
        stored = Stored(result, picture if picture.data is data else picture.sharing(data))
        size = footprint(result.request, result.objects, result.notes)
        owner = tenant if known or tenant in self._of_owner else _UNKNOWN
        key = tenant, result.result_id
        self._entries[key] = entry = _Entry(stored, owner, size, picture.digest, len(data))
        self._all.change(entry, 1)
        self._of_owner[owner].change(entry, 1)
        while len(self._entries) > 1 and self._part(self._all) > 1:
            self._remove_one(newest=key)
        return result

    def get(self, result_id: str, tenant: str = "") -> Stored:
        """Fetch a result and its image from memory.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        try:
            self._entries.move_to_end((tenant, result_id))
        except KeyError:
            raise NotFoundError(
                f"there is no result {result_id[:40]!r} (results are kept for a while, until newer ones take their "
                "place); call detect_objects or detect_prompt_free again and use the result_id of its answer"
            ) from None
        return self._entries[tenant, result_id].stored

    def recent(self, tenant: str = "") -> list[Stored]:
        """List a tenant's results, the most recently used first."""
        return [entry.stored for (owner, _), entry in reversed(self._entries.items()) if owner == tenant]

    def _part(self, usage: _Usage) -> float:
        """Give the part of what is allowed that is used, by number or bytes."""
        return max(usage.results / self._max_results, usage.bytes / self._max_bytes)

    def _remove_one(self, newest: tuple[str, str]) -> None:
        """Remove the least recently used result of whoever uses most."""
        parts = {owner: self._part(usage) for owner, usage in self._of_owner.items()}
        keys = [key for key in self._entries if key != newest]
        # Of equals, `max` gives the first, which is the least recently used.
        entry = self._entries.pop(max(keys, key=lambda key: parts[self._entries[key].owner]))
        self._all.change(entry, -1)
        self._of_owner[entry.owner].change(entry, -1)
        if not self._of_owner[entry.owner].results:
            del self._of_owner[entry.owner]


def _share(shared: SharedStore, result: DetectionResult, picture: Picture, tenant: str, *, known: bool) -> None:
    """Put a result and its image into a shared store. Blocks."""
    record = _Record(
        result=result,
        digest=picture.digest,
        source=picture.source,
        origin=picture.origin,
        pixels_per_point=picture.pixels_per_point,
    )
    shared.put(tenant, "image", picture.digest, picture.data, known=known)
    shared.put(tenant, "result", result.result_id, record.model_dump_json().encode(), known=known)


def _find(shared: SharedStore, result_id: str, tenant: str) -> Stored | None:
    """Get a result and its image from a shared store, if both are there. Blocks."""
    data = shared.get(tenant, "result", result_id)
    if data is None:
        return None
    try:
        record = _Record.model_validate_json(data)
        image = shared.get(tenant, "image", record.digest)
        if image is None:
            return None
        pixels = record.result.image.width * record.result.image.height
        found = Picture.from_bytes(image, record.source, max_pixels=pixels)
        picture = replace(found, origin=record.origin, pixels_per_point=record.pixels_per_point)
        _ = picture.digest, picture.notes  # computed here, off the event loop
    except (ValidationError, ImageError):
        raise damaged("result", result_id) from None
    return Stored(record.result, picture)


def footprint(request: DetectionRequest, objects: Iterable[Detection], strings: Iterable[str] = ()) -> int:
    """Estimate the bytes in memory of a request with its objects, and of `strings` that are kept with them."""
    saved = (example.embedding.data for example in request.examples if example.embedding)
    total = _REQUEST_BYTES + sum(map(sys.getsizeof, (*(request.prompts or ()), *saved, *strings)))
    total += _OBJECT_BYTES * len(request.examples)
    for found in objects:
        total += _OBJECT_BYTES
        total += sum(sys.getsizeof(text) for text in (found.text, found.caption, found.category) if text)
        total += sys.getsizeof(found.mask.counts) if found.mask else 0
        total += _KEYPOINT_BYTES * len(found.keypoints)
    return total
