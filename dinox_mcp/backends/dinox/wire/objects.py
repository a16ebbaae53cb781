"""Reading the objects of a reply and their keypoints, back to the caller's labels and pixels."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat

from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire.question import Question
from dinox_mcp.errors import ServiceError
from dinox_mcp.types import boxes, keypoints
from dinox_mcp.types.detection import Detection, Detections, Keypoint, Mask, certainty

NAMES: Mapping[str, Sequence[str]] = {"pose": keypoints.BODY, "hand": keypoints.HAND}
"""The names of points by the field of an object that they come in."""
_VALUES = 4
_VISIBILITIES = (0, 1, 2)
_FAR = 1e9
"""No picture is that large; not finite is not less, either."""


def read_keypoints(thing: Mapping[str, Any], field: str, frames: Frames) -> tuple[Keypoint, ...]:
    """Read the points of one field, in pixels of the picture; none where the object has no such thing.

    The third value is the visibility by the vendor's word and a confidence by the vendor's code: it is taken for what
    it can be. The fourth is not documented: it counts as a score where it can be one, and differs between the points.

    Raises:
        ValueError: what is there is not a list of that many points.
    """
    values = thing.get(field)
    if values is None or values == []:
        return ()
    names = NAMES[field]
    if not isinstance(values, list) or len(values) != _VALUES * len(names) or not all(map(_is_number, values)):
        raise ValueError(f"not {len(names)} points")
    xs, ys, thirds, fourths = (values[place::_VALUES] for place in range(_VALUES))
    factor_x, factor_y = frames.factors
    sure = not set(thirds) <= set(_VISIBILITIES) and all(map(_is_score, thirds))
    scores = thirds if sure else fourths
    told = len(set(scores)) > 1
    return tuple(
        Keypoint(
            name=name,
            x=x * factor_x,
            y=y * factor_y,
            visibility=int(third) if third in _VISIBILITIES and not sure else None,
            score=score if told and _is_score(score) else None,
        )
        for name, x, y, third, score in zip(names, xs, ys, thirds, scores, strict=True)
    )


def _is_score(value: float) -> bool:
    return 0 <= value <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR


_MAX_MASK_SIDE = 16_384
_SCORE_NOISE = 0.001
_FIELDS = {"pose_keypoints": "pose", "hand_keypoints": "hand"}


def read(result: Mapping[str, Any], question: Question) -> Detections:
    """Read the result of a task into detections, best first. Slow with masks: call it off the event loop.

    An object that is not understood is left out; a mask or keypoints that are not are missing from theirs; and all
    of it is told in a note. A score that is missing is absent; one outside of 0 to 1 makes its object one that is not
    understood. What scores less than was asked for is left out, as not every endpoint minds the threshold.

    Raises:
        ServiceError: there is no list of objects.
    """
    found, malformed = [], 0
    unread = dict.fromkeys(question.targets, 0)
    for thing in things(result):
        try:
            detection = _detection(thing, question, unread)
        except ValueError:
            malformed += 1
            continue
        if detection.score is None or detection.score >= question.min_score:
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
    return Detections(model=question.model.name, objects=tuple(found), notes=tuple(notes))


def things(result: Mapping[str, Any]) -> list[Any]:
    """Give the list of objects of a result.

    Raises:
        ServiceError: there is none.
    """
    listed = result.get("objects")
    if not isinstance(listed, list):
        raise ServiceError(
            f"the DINO-X service finished without a list of objects (got {type(listed).__name__}); "
            "try again, and report it to the vendor if it stays"
        )
    return listed


def merge(answers: Sequence[Detections], iou_threshold: float) -> Detections:
    """Make one answer of those to several questions about one picture; what several found is one object.

    Boxes of one label that overlap by more than `iou_threshold` are one: the service is not always told the threshold.
    """
    objects = boxes.suppress([found for answer in answers for found in answer.objects], iou_threshold)
    notes = dict.fromkeys(note for answer in answers for note in answer.notes)
    model = answers[0].model
    if len(answers) == 1:
        return answers[0].model_copy(update={"objects": tuple(objects)})
    calls = f"{model} was asked in {len(answers)} calls, as it takes one saved prompt a call"
    return Detections(model=model, objects=tuple(objects), notes=(calls, *notes))


class _Object(BaseModel):
    """An object of a reply: what must be there, as far as it is used."""

    score: FiniteFloat | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Mask(BaseModel):
    """A mask of a reply; its size is (height, width)."""

    counts: str
    size: tuple[Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)], Annotated[int, Field(gt=0, le=_MAX_MASK_SIDE)]]
    format: str = "coco_rle"


def _detection(thing: Any, question: Question, unread: dict[str, int]) -> Detection:  # noqa: ANN401 - as it was sent
    """Bring an object back to the caller's pixels and spelling, counting what it has that cannot be read.

    Raises:
        ValueError: the box is empty or outside of the picture, or the score or the label is none.
    """
    wired = _Object.model_validate(thing)
    bbox = question.frames.back(wired.bbox)
    if boxes.area(bbox) <= 0:
        raise ValueError("an empty box")
    score = wired.score
    if score is not None and -_SCORE_NOISE <= score <= 1 + _SCORE_NOISE:
        score = min(max(score, 0.0), 1.0)
    detection = Detection(label=question.label(thing), bbox=bbox, score=score)
    more: dict[str, Any] = {}
    if "mask" in question.targets:
        more["mask"] = _mask(thing.get("mask"), question.frames.size)
        unread["mask"] += more["mask"] is None
    if points := _keypoints(thing, question, unread):
        more["keypoints"] = points
    return detection.model_copy(update=more) if more else detection


def _keypoints(thing: Mapping[str, Any], question: Question, unread: dict[str, int]) -> tuple[Keypoint, ...]:
    """Read body and hand points, together."""
    points: tuple[Keypoint, ...] = ()
    for target, field in _FIELDS.items():
        if target in question.targets:
            try:
                points += read_keypoints(thing, field, question.frames)
            except ValueError:
                unread[target] += 1
    return points


def _mask(wired: Any, size: tuple[int, int]) -> Mask | None:  # noqa: ANN401 - whatever the service sent
    """Bring a mask back to the caller's pixels; None where it is missing or not one."""
    from dinox_mcp.types import masks

    try:
        mask = _Mask.model_validate(wired)
        if mask.format != "coco_rle":
            return None
        return masks.resize(Mask(size=mask.size, counts=mask.counts), *size)
    except ValueError:
        return None


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"
