"""Results as COCO JSON, the format of annotation tools and evaluators."""

from typing import Any

from dinox_mcp.types import boxes, masks
from dinox_mcp.types.detection import DetectedObject, DetectionResult, Keypoint
from dinox_mcp.types.keypoints import BODY, BODY_BONES, visibility

_SKELETON = [[BODY.index(a) + 1, BODY.index(b) + 1] for a, b in BODY_BONES]


def to_coco(*results: DetectionResult) -> dict[str, Any]:
    """Convert results to one COCO dataset, ready for `json.dumps`: https://cocodataset.org/#format-data.

    The objects are the annotations. `bbox` is [x, y, width, height] in original pixels. `segmentation` is the mask, or
    the outline of the box if there is no mask, so that tools which need a mask can make one; `area` is its area. A body
    with all 17 points has `keypoints` and `num_keypoints`, and its category lists the points and the skeleton: x, y and
    v of a missing point are 0.

    Annotations have further keys where the object has such values, which readers of COCO ignore: `score`, `caption`,
    `category` (a model's name for it, unlike `category_id`), `text`, and `all_keypoints`, also those of hands, with
    `name`, `x`, `y`, `visibility` and `score`.

    Args:
        results: one or more results; each is one image of the dataset.

    Returns:
        The dataset. The annotations of the first result have the numbers of its objects as ids; those of later results
        are counted on from there.

    Raises:
        ValueError: a mask is not a COCO RLE of its size.

    Example:
        Path("coco.json").write_text(json.dumps(to_coco(result)))
    """
    everything = [found for result in results for found in result.objects]
    categories = {label: number for number, label in enumerate(dict.fromkeys(one.label for one in everything), start=1)}
    posed = {found.label for found in everything if is_posed(found)}
    titles = (f"Result {one.result_id} of {one.backend} ({one.model}) by dinox-mcp" for one in results)
    annotations: list[dict[str, Any]] = []
    last = 0
    for image_id, result in enumerate(results, start=1):
        before = last
        for found in result.objects:
            last = max(last, before + found.id)
            known = {"id": before + found.id, "image_id": image_id, "category_id": categories[found.label]}
            annotations.append(known | annotation(found, posed=found.label in posed))
    return {
        "info": {"description": "; ".join(titles)},
        "licenses": [],
        "images": [_image(image_id, result) for image_id, result in enumerate(results, start=1)],
        "categories": [category(number, label, posed=label in posed) for label, number in categories.items()],
        "annotations": annotations,
    }


def _image(image_id: int, result: DetectionResult) -> dict[str, Any]:
    image = result.image
    return {"id": image_id, "file_name": image.source, "width": image.width, "height": image.height}


def category(number: int, label: str, *, posed: bool) -> dict[str, Any]:
    """Write a label; with the points of a body, if an object of it is `posed`."""
    written: dict[str, Any] = {"id": number, "name": label}
    return written | {"keypoints": list(BODY), "skeleton": _SKELETON} if posed else written


def is_posed(found: DetectedObject) -> bool:
    """Return whether an object has all points of a body."""
    return bool(_body(found))


def annotation(found: DetectedObject, *, posed: bool) -> dict[str, Any]:
    """Write an object, all but its ids; with the points of its body, if an object of its label is `posed`."""
    x1, y1, x2, y2 = found.bbox
    written: dict[str, Any] = {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": masks.area(found.mask) if found.mask else boxes.area(found.bbox),
        "iscrowd": 0,
        "segmentation": {"size": list(found.mask.size), "counts": found.mask.counts}
        if found.mask
        else [[x1, y1, x2, y1, x2, y2, x1, y2]],
    }
    if found.score is not None:
        written["score"] = found.score
    if posed:
        written |= _pose(found)
    for key in ("caption", "category", "text"):
        if (text := getattr(found, key)) is not None:
            written[key] = text
    if found.keypoints:
        written["all_keypoints"] = [point.model_dump(exclude_none=True) for point in found.keypoints]
    return written


def _body(found: DetectedObject) -> list[Keypoint]:
    """Give the points of a body in COCO's order, or none where one is missing."""
    points = {point.name: point for point in found.keypoints}
    return [points[name] for name in BODY] if points.keys() >= set(BODY) else []


def _pose(found: DetectedObject) -> dict[str, Any]:
    """Write the pose of an object whose category has one: of an object without, no point is there."""
    flat: list[float] = []
    for point in _body(found):
        seen = visibility(point)
        flat += [point.x, point.y, seen] if seen else [0, 0, 0]
    return {"keypoints": flat or [0] * 3 * len(BODY), "num_keypoints": sum(1 for seen in flat[2::3] if seen)}
