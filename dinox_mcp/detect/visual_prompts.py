"""Visual prompts, which show what to find: a box or point in an image, an object of a result, or a saved prompt."""

from collections.abc import Iterable
from typing import Protocol

from pydantic import Field

from dinox_mcp.detect.options import Caller
from dinox_mcp.errors import InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import MiB
from dinox_mcp.store.prompts import SavedPrompts
from dinox_mcp.store.results import Stored
from dinox_mcp.types.boxes import is_ordered, right_form
from dinox_mcp.types.detection import BBox, Example, Point, Value, get_object
from dinox_mcp.types.text import one_line

MAX_EXAMPLES = 100
MAX_LABEL_LENGTH = 300
MAX_PICTURES_BYTES = 200 * MiB  # of the files of all other images that the examples of one request are in


class VisualPrompt(Value):
    """An example of what to find, or not to find: exactly one of `bbox`, `point`, `object` of a `result`, `saved` name.

    A box or point is in `image`, by default the one that is searched. By default the label is that of the object or
    saved prompt, otherwise "object".

    Example:
        box = VisualPrompt(bbox=(40, 60, 220, 300), label="bag")
        result = await detector.detect_by_example("photo.jpg", [box])
        again = await detector.detect_by_example("other.jpg", [VisualPrompt(result=result.result_id, object=1)])
    """

    bbox: BBox | None = None
    point: Point | None = None
    result: str | None = Field(default=None, description="result_id, with object")
    object: int | None = Field(default=None, description="number of an object in that result")
    saved: str | None = Field(default=None, description="name of a saved prompt")
    image: str | None = Field(default=None, description="image of the bbox or point; default: the searched one")
    label: str | None = Field(default=None, description="what to call what is found like it")
    negative: bool = Field(default=False, description="not like this")


class Sources(Protocol):
    """Where visual prompts come from: images, results and saved prompts."""

    @property
    def saved(self) -> SavedPrompts:
        """The saved prompts."""
        ...

    async def load(self, image: str, caller: Caller) -> Picture:
        """Load an image."""
        ...

    async def fetch(self, result_id: str, caller: Caller) -> Stored:
        """Fetch an earlier result with its image."""
        ...


async def resolve(
    prompts: Iterable[VisualPrompt], searched: Picture | None, sources: Sources, caller: Caller
) -> tuple[tuple[Example, ...], dict[str, Picture]]:
    """Make examples for a backend of at most `MAX_EXAMPLES` visual prompts, of which one at least is not negative.

    If many images are `searched`, it is None, and each prompt brings its own image.

    Returns:
        The examples, and the other images that they are in, by digest.

    Raises:
        InputError: there are none or too many, or one is incomplete, contradictory or outside of its image.
    """
    prompts = tuple(prompts)
    if not 1 <= len(prompts) <= MAX_EXAMPLES:
        raise InputError(
            f"examples has {len(prompts)} entries; give 1 to {MAX_EXAMPLES}, each with a bbox [x_min, y_min, x_max, "
            "y_max] or point [x, y], a result and object, or the name of a saved prompt"
        )
    pictures: dict[str, Picture] = {}
    loaded: dict[str, Picture] = {}
    examples = []
    for number, given in enumerate(prompts, start=1):
        prompt = _checked(given, number)
        label = clean_label(prompt.label)
        if prompt.saved is not None:
            saved = sources.saved.get(prompt.saved, caller.tenant)
            label = label or saved.label
            examples.append(Example(label=label, embedding=saved.embedding, negative=prompt.negative))
            continue
        picture, bbox = searched, prompt.bbox
        if prompt.object is not None:
            stored = await sources.fetch(prompt.result or "", caller)
            found = get_object(stored.result.objects, prompt.object)
            picture, bbox, label = stored.picture, found.bbox, label or found.label
        elif prompt.image is not None:
            if prompt.image not in loaded:
                loaded[prompt.image] = await sources.load(prompt.image, caller)
            picture = loaded[prompt.image]
        if picture is None:
            raise InputError(f"example {number} does not say which image it is in; pass image beside its bbox or point")
        _check_position(bbox, prompt.point, picture, number)
        image = ""
        if searched is None or picture.digest != searched.digest:
            image = picture.digest
            pictures[image] = picture
            _check_bytes(pictures.values(), number)
        examples.append(
            Example(label=label or "object", bbox=bbox, point=prompt.point, image=image, negative=prompt.negative)
        )
    if all(example.negative for example in examples):
        raise InputError("all examples are negative; give at least one of what to find")
    return tuple(examples), pictures


def clean_label(label: str | None) -> str:
    """Bring a label to one line of at most `MAX_LABEL_LENGTH` characters; empty where there is none."""
    return one_line(label or "")[:MAX_LABEL_LENGTH]


def _checked(prompt: VisualPrompt, number: int) -> VisualPrompt:
    """Refuse a visual prompt that gives nothing, or two examples at once."""
    given = [name for name in ("bbox", "point", "object", "saved") if getattr(prompt, name) is not None]
    if prompt.point == (0, 0) and len(given) > 1:  # some clients send it for a point that is left out
        given.remove("point")
        prompt = prompt.model_copy(update={"point": None})
    if len(given) != 1:
        raise InputError(
            f"example {number} has {' and '.join(given) or 'nothing to point at'}; give one of bbox, point, object "
            "(with result), saved"
        )
    if (prompt.object is None) != (prompt.result is None):
        raise InputError(
            f"example {number} has only one of result and object; give the result_id and the object's number together"
        )
    if prompt.image is not None and given[0] in ("object", "saved"):
        raise InputError(f"example {number} has image and {given[0]}; an object and a saved prompt bring their own")
    return prompt


def _check_bytes(pictures: Iterable[Picture], number: int) -> None:
    """Refuse more images than fit into memory."""
    if sum(len(picture.data) for picture in pictures) > MAX_PICTURES_BYTES:
        raise InputError(
            f"the images of examples 1 to {number} have more than {MAX_PICTURES_BYTES // MiB} MiB together; give "
            "fewer or smaller ones"
        )


def _check_position(bbox: BBox | None, point: Point | None, picture: Picture, number: int) -> None:
    """Refuse an empty box, and a box or point outside of its image."""
    x1, y1, x2, y2 = bbox or (*(point or ()), *(point or ()))
    empty = bbox is not None and not is_ordered(bbox)
    if empty or x1 >= picture.width or y1 >= picture.height or x2 < 0 or y2 < 0:
        shown = [round(edge, 1) for edge in bbox or point or ()]
        form = right_form(bbox) if bbox else "points are [x, y] in pixels of the original"
        raise InputError(
            f"example {number}: {shown} is empty or outside its {picture.width}x{picture.height} image; {form}"
        )
