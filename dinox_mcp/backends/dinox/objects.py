"""Reads the objects of a reply into detections, with the caller's labels and in original pixels."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat

from dinox_mcp.backends.dinox.request import Frames, ObjectRequest
from dinox_mcp.errors import ServiceError
from dinox_mcp.types import boxes, keypoints
from dinox_mcp.types.detection import Detection, Detections, Keypoint, Mask, certainty

NAMES: Mapping[str, Sequence[str]] = {"pose": keypoints.BODY, "hand": keypoints.HAND}
"""The names of keypoints by the field of an object that holds them."""
_VALUES = 4
_VISIBILITIES = (0, 1, 2)
_MAX_COORDINATE = 1e9
"""No image is that large. NaN and infinity are refused, too, as neither is less."""


def read_keypoints(item: Mapping[str, Any], field: str, frames: Frames) -> tuple[Keypoint, ...]:
    """Read the keypoints of one field, in pixels of the image; none if the object has no such field.

    The third value of a point is its visibility according to the vendor's documentation, and a confidence according
    to the vendor's code: it is read as what it can be. The fourth is not documented: it is read as a score if all are
    from 0 to 1 and they differ.

    Raises:
        ValueError: the field is not a list of the expected number of points.
    """
    values = item.get(field)
    if values is None or values == []:
        return ()
    names = NAMES[field]
    if not isinstance(values, list) or len(values) != _VALUES * len(names) or not all(map(_is_number, values)):
        raise ValueError(f"not {len(names)} points")
    xs, ys, thirds, fourths = (values[place::_VALUES] for place in range(_VALUES))
    factor_x, factor_y = frames.factors
    thirds_are_scores = not set(thirds) <= set(_VISIBILITIES) and all(map(_is_score, thirds))
    scores = thirds if thirds_are_scores else fourths
    differ = len(set(scores)) > 1
    return tuple(
        Keypoint(
            name=name,
            x=x * factor_x,
            y=y * factor_y,
            visibility=int(third) if third in _VISIBILITIES and not thirds_are_scores else None,
            score=score if differ and _is_score(score) else None,
        )
        for name, x, y, third, score in zip(names, xs, ys, thirds, scores, strict=True)
    )


def _is_score(value: float) -> bool:
    return 0 <= value <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_COORDINATE


_MAX_MASK_SIDE = 16_384
_SCORE_NOISE = 0.001
_FIELDS = {"pose_keypoints": "pose", "hand_keypoints": "hand"}


def read_objects(result: Mapping[str, Any], request: ObjectRequest) -> Detections:
    """Read the result of a task into detections, best first. Slow with masks: call it in a thread.

    Malformed objects are left out, and so are malformed masks and keypoints of good objects; notes count them. A
    missing score stays absent; an object with a score outside 0 to 1 is malformed. Objects below the lowest score of
    the request are left out here too, as not every endpoint applies it.
    """
    found, malformed = [], 0
    unread = dict.fromkeys(request.targets, 0)
    for item in list_objects(result):
        try:
            detection = _detection(item, request, unread)
        except ValueError:
            malformed += 1
            continue
        if detection.score is None or detection.score >= request.min_score:
            found.append(detection)
    notes = []
    if malformed:
        notes.append(f"{_count(malformed)} of the reply {'was' if malformed == 1 else 'were'} malformed and left out")
    if unread.get("mask"):
        notes.append(f"{_count(unread['mask'])} came without a mask that can be read")
    for target, field in _FIELDS.items():
        if unread.get(target):
            notes.append(f"{_count(unread[target])} came with {field} keypoints that cannot be read")
    found.sort(key=lambda one: -certainty(one))
    return Detections(model=request.model.name, objects=tuple(found), notes=tuple(notes))


def list_objects(result: Mapping[str, Any]) -> list[Any]:
    """Return the list of objects of a result.

    Raises:
        ServiceError: there is no such list.
    """
    listed = result.get("objects")
    if not isinstance(listed, list):
        raise ServiceError(
            f"the DINO-X service finished without a list of objects (got {type(listed).__name__}); "
            "try again, and report it to the vendor if it stays"
        )
    return listed


def merge(parts: Sequence[Detections], iou_threshold: float) -> Detections:
    """Merge the detections of several requests about one image, and suppress overlapping boxes of one label."""
    objects = boxes.suppress([found for part in parts for found in part.objects], iou_threshold)
    if len(parts) == 1:
        return parts[0].model_copy(update={"objects": tuple(objects)})
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    model = parts[0].model
    calls = f"{model} took {len(parts)} calls, one for each saved prompt and one for all drawn examples"
    return Detections(model=model, objects=tuple(objects), notes=(calls, *notes))


class _Object(BaseModel):
    """The fields of an object of a reply that are always read."""

    score: FiniteFloat | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Mask(BaseModel):
    """A mask of a reply; its size is (height, width)."""

    counts: str
    size: tuple[Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)], Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)]]
    format: str = "coco_rle"


def _detection(item: Any, request: ObjectRequest, unread: dict[str, int]) -> Detection:  # noqa: ANN401 - unchecked JSON
    """Read an object in the caller's pixels and spelling; count the masks and keypoints that cannot be read."""
    sent = _Object.model_validate(item)
    bbox = request.frames.to_original(sent.bbox)
    if boxes.area(bbox) <= 0:
        raise ValueError("an empty box")
    score = sent.score
    if score is not None and -_SCORE_NOISE <= score <= 1 + _SCORE_NOISE:
        score = min(max(score, 0.0), 1.0)
    detection = Detection(label=request.label(item), bbox=bbox, score=score)
    more: dict[str, Any] = {}
    if "mask" in request.targets:
        more["mask"] = _mask(item.get("mask"), request.frames.size)
        unread["mask"] += more["mask"] is None
    if points := _keypoints(item, request, unread):
        more["keypoints"] = points
    return detection.model_copy(update=more) if more else detection


def _keypoints(item: Mapping[str, Any], request: ObjectRequest, unread: dict[str, int]) -> tuple[Keypoint, ...]:
    """Read the points of body and hand."""
    points: tuple[Keypoint, ...] = ()
    for target, field in _FIELDS.items():
        if target in request.targets:
            try:
                points += read_keypoints(item, field, request.frames)
            except ValueError:
                unread[target] += 1
    return points


def _mask(sent: Any, size: tuple[int, int]) -> Mask | None:  # noqa: ANN401 - unchecked JSON
    """Read a mask in the caller's pixels; None if it is missing or malformed."""
    from dinox_mcp.types import masks

    try:
        mask = _Mask.model_validate(sent)
        if mask.format != "coco_rle":
            return None
        return masks.resize(Mask(size=mask.size, counts=mask.counts), *size)
    except ValueError:
        return None


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"
