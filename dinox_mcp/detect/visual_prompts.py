"""What callers point at to say "more like this": a place in a picture, an object of a result, or a saved prompt."""

from collections.abc import Iterable
from typing import Protocol

from pydantic import Field

from dinox_mcp.drawing import views
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.store.prompts import SavedPrompts
from dinox_mcp.store.results import Stored
from dinox_mcp.types.caller import Caller
from dinox_mcp.types.detection import BBox, Example, Point, Value

MAX_EXAMPLES = 100
MAX_PICTURES_BYTES = 200 * MiB
"""Files of other pictures that the examples of one question may be in, together."""


class Pointer(Value):
    """One example, as a caller gives it: by `bbox`, `point`, `object` of a `result`, or `saved` name.

    `image` is where the picture of a box or point is, by default the searched one. The default label is that of the
    object or saved prompt, else "object".
    """

    bbox: BBox | None = None
    point: Point | None = None
    result: str | None = Field(default=None, description="result_id, with object")
    object: int | None = Field(default=None, description="number of an object in that result")
    saved: str | None = Field(default=None, description="name of a saved prompt")
    image: str | None = Field(default=None, description="picture of the bbox or point; default: the searched one")
    label: str | None = Field(default=None, description="what to call what is found like it")
    negative: bool = Field(default=False, description="not like this")


class Sources(Protocol):
    """Where pointers lead: pictures, results and saved prompts."""

    @property
    def saved(self) -> SavedPrompts:
        """The prompts that are kept by name."""
        ...

    async def load(self, image: str, caller: Caller) -> Picture:
        """Load a picture from wherever `image` points."""
        ...

    def result(self, result_id: str, caller: Caller) -> Stored:
        """Fetch an earlier result with its picture."""
        ...


async def follow(
    pointers: Iterable[Pointer], searched: Picture, sources: Sources, caller: Caller
) -> tuple[tuple[Example, ...], dict[str, Picture]]:
    """Make examples of pointers, with the other pictures that they are in, by digest.

    Raises:
        InputError: there are none or too many, one points at nothing or at two things, or outside its picture.
    """
    pointers = tuple(pointers)
    if not 1 <= len(pointers) <= MAX_EXAMPLES:
        raise InputError(
            f"examples has {len(pointers)} entries; give 1 to {MAX_EXAMPLES}, each with a bbox [x_min, y_min, x_max, "
            "y_max] or point [x, y], a result and object, or the name of a saved prompt"
        )
    pictures: dict[str, Picture] = {}
    loaded: dict[str, Picture] = {}
    examples = []
    for place, pointer in enumerate(pointers, start=1):
        if pointer.point == (0, 0) and len(_given(pointer)) > 1:
            pointer = pointer.model_copy(update={"point": None})  # noqa: PLW2901 - how some clients leave a point out
        _check(pointer, place)
        if pointer.saved is not None:
            saved = sources.saved.get(pointer.saved, caller.tenant)
            label = one_line(pointer.label) or saved.label
            examples.append(Example(label=label, embedding=saved.embedding, negative=pointer.negative))
            continue
        picture, bbox, label = searched, pointer.bbox, one_line(pointer.label)
        if pointer.object is not None:
            stored = sources.result(pointer.result or "", caller)
            found = views.get_object(stored.result.objects, pointer.object)
            picture, bbox, label = stored.picture, found.bbox, label or found.label
        elif pointer.image is not None:
            if pointer.image not in loaded:
                loaded[pointer.image] = await sources.load(pointer.image, caller)
            picture = loaded[pointer.image]
        _check_place(bbox, pointer.point, picture, place)
        same = picture.digest == searched.digest
        if not same:
            pictures[picture.digest] = picture
            _check_bytes(pictures.values(), place)
        examples.append(
            Example(
                label=label or "object",
                bbox=bbox,
                point=pointer.point,
                image="" if same else picture.digest,
                negative=pointer.negative,
            )
        )
    if all(example.negative for example in examples):
        raise InputError("all examples are negative; give at least one of what to find")
    return tuple(examples), pictures


def _given(pointer: Pointer) -> list[str]:
    return [name for name in ("bbox", "point", "object", "saved") if getattr(pointer, name) is not None]


def _check(pointer: Pointer, place: int) -> None:
    """Refuse what points at nothing, or at two things.

    Raises:
        InputError: it does.
    """
    given = _given(pointer)
    if len(given) != 1:
        raise InputError(
            f"example {place} has {' and '.join(given) or 'nothing to point at'}; give one of bbox, point, object "
            "(with result), saved"
        )
    if (pointer.object is None) != (pointer.result is None):
        raise InputError(f"example {place} needs result and object together: the result_id and the object's number")
    if pointer.image is not None and given[0] in ("object", "saved"):
        raise InputError(f"example {place} has image and {given[0]}; an object and a saved prompt bring their own")


def _check_bytes(pictures: Iterable[Picture], place: int) -> None:
    """Refuse more pictures than fit into memory.

    Raises:
        InputError: they are too large together.
    """
    if sum(len(picture.data) for picture in pictures) > MAX_PICTURES_BYTES:
        raise InputError(
            f"the pictures of examples 1 to {place} have more than {MAX_PICTURES_BYTES // MiB} MiB together; give "
            "fewer or smaller ones"
        )


def _check_place(bbox: BBox | None, point: Point | None, picture: Picture, place: int) -> None:
    """Refuse an empty box, and what is outside the picture.

    Raises:
        InputError: it is.
    """
    x1, y1, x2, y2 = bbox or (*(point or ()), *(point or ()))
    empty = bbox is not None and not views.is_ordered(bbox)
    if empty or x1 >= picture.width or y1 >= picture.height or x2 < 0 or y2 < 0:
        shown = [round(edge, 1) for edge in bbox or point or ()]
        right = views.right_form(bbox) if bbox else "points are [x, y] in pixels of the original"
        raise InputError(
            f"example {place}: {shown} is empty or outside its {picture.width}x{picture.height} picture; {right}"
        )


def one_line(label: str | None) -> str:
    """Bring a label to one line of bearable length; empty where there is none."""
    return " ".join((label or "").split())[:300]
