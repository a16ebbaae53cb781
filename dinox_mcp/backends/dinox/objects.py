"""Reads the objects of a reply into detections, with the caller's labels and in original pixels."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat

from dinox_mcp.backends.dinox.request import Frames, ObjectRequest
from dinox_mcp.errors import ServiceError
from dinox_mcp.types import boxes, keypoints
from dinox_mcp.types.detection import Detection, Detections, Keypoint, Mask, certainty

_POINTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "pose_keypoints": ("pose", keypoints.BODY),
    "hand_keypoints": ("hand", keypoints.HAND),
}
"""The field of an object with the points of a target, and the names of these points."""
_VALUES = 4  # of each point
_VISIBILITIES = (0, 1, 2)
_MAX_COORDINATE = 1e9
"""No image is that large. NaN and infinity are refused, too, as neither is less."""
_MAX_MASK_SIDE = 16_384
_SCORE_NOISE = 0.001


def read_results(
    results: Sequence[Mapping[str, Any]], requests: Sequence[ObjectRequest], iou_threshold: float
) -> Detections:
    """Read the results of all requests about one image; overlapping boxes of one label are suppressed. Slow."""
    parts = [read_objects(result, request) for result, request in zip(results, requests, strict=True)]
    model = parts[0].model
    if len(parts) == 1 and requests[0].model.takes_thresholds:
        return parts[0]  # the service has applied the thresholds
    objects = boxes.suppress([found for part in parts for found in part.objects], iou_threshold)
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    if len(parts) > 1:
        notes.insert(0, f"{model} took {len(parts)} calls, one for each saved prompt and one for all drawn examples")
    return Detections(model=model, objects=tuple(objects), notes=tuple(notes))


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
    for target, (field, _) in _POINTS.items():
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


class _Object(BaseModel):
    """The fields of an object of a reply that are always read."""

    score: FiniteFloat | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Mask(BaseModel):
    """A mask of a reply; its size is (height, width)."""

    counts: str
    size: tuple[Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)], Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)]]
    format: Literal["coco_rle"] = "coco_rle"


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
    for target, (field, names) in _POINTS.items():
        if target in request.targets:
            try:
                more["keypoints"] = (*more.get("keypoints", ()), *_keypoints(item.get(field), names, request.frames))
            except ValueError:
                unread[target] += 1
    return detection.model_copy(update=more)


def _keypoints(values: Any, names: Sequence[str], frames: Frames) -> tuple[Keypoint, ...]:  # noqa: ANN401 - unchecked JSON
    """Read points, in pixels of the image; none where there are none.

    The third value of a point is its visibility according to the vendor's documentation, and a confidence according
    to the vendor's code: it is read as what it can be. The fourth is not documented: it is read as a score if all are
    from 0 to 1 and they differ.

    Raises:
        ValueError: this is not a list of the expected number of points.
    """
    if values is None or values == []:
        return ()
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


def _mask(sent: Any, size: tuple[int, int]) -> Mask | None:  # noqa: ANN401 - unchecked JSON
    """Read a mask in the caller's pixels; None if it is missing or malformed."""
    from dinox_mcp.types import masks

    try:
        mask = _Mask.model_validate(sent)
        return masks.resize(Mask(size=mask.size, counts=mask.counts), *size)
    except ValueError:
        return None


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"
