"""Results as COCO JSON, the format that annotation tools and evaluators read."""

from typing import Any

from dinox_mcp.types import boxes, masks
from dinox_mcp.types.detection import DetectedObject, DetectionResult, Keypoint, Mask
from dinox_mcp.types.keypoints import BODY, BODY_BONES, visibility

_SKELETON = [[BODY.index(a) + 1, BODY.index(b) + 1] for a, b in BODY_BONES]


def to_coco(*results: DetectionResult) -> dict[str, Any]:
    """Write results as one COCO dataset with an image for each, in their order, and one list of categories.

    The objects are the annotations. Of a single result they keep their own numbers as ids; of several, the numbers of
    each go on behind those of the one before, so that no id is there twice.

    `bbox` is [x, y, width, height] in original pixels. `segmentation` is the mask, or the outline of the box where
    there is no mask, so that tools which make masks of annotations can make one of each; `area` counts what is in it.
    Bodies of all 17 points are `keypoints` and `num_keypoints`, and their categories tell the points and the skeleton
    (https://cocodataset.org/#format-data): of a point that is not there, x, y and v are 0.

    Where the object has them, these keys beyond the format are there too, which its readers pass over: `score`,
    `caption`, `category` (a model's word, unlike the one of `category_id`), `text`, and `points`: every keypoint that
    there is, of hands as well, as an object of `name`, `x`, `y` and, if known, `visibility` and `score`.
    Ready for `json.dumps`.

    Raises:
        ValueError: a mask is not a COCO RLE of the size that it claims.
    """
    everything = [found for result in results for found in result.objects]
    categories = {label: number for number, label in enumerate(dict.fromkeys(one.label for one in everything), start=1)}
    posed = {found.label for found in everything if _body(found)}
    annotations: list[dict[str, Any]] = []
    for image_id, result in enumerate(results, start=1):
        before = max((one["id"] for one in annotations), default=0)
        for found in result.objects:
            known = {"id": before + found.id, "image_id": image_id, "category_id": categories[found.label]}
            annotations.append(known | _annotation(found, posed=found.label in posed))
    return {
        "info": {"description": "; ".join(map(_title, results))},
        "licenses": [],
        "images": [_image(image_id, result) for image_id, result in enumerate(results, start=1)],
        "categories": [_category(number, label, posed=label in posed) for label, number in categories.items()],
        "annotations": annotations,
    }


def _title(result: DetectionResult) -> str:
    return f"Result {result.result_id} of {result.backend} ({result.model}) by dinox-mcp"


def _image(image_id: int, result: DetectionResult) -> dict[str, Any]:
    image = result.image
    return {"id": image_id, "file_name": image.source, "width": image.width, "height": image.height}


def _category(number: int, label: str, *, posed: bool) -> dict[str, Any]:
    category: dict[str, Any] = {"id": number, "name": label}
    return category | {"keypoints": list(BODY), "skeleton": _SKELETON} if posed else category


def _annotation(found: DetectedObject, *, posed: bool) -> dict[str, Any]:
    """Write an object, all but its ids."""
    x1, y1, x2, y2 = found.bbox
    annotation: dict[str, Any] = {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": masks.area(found.mask) if found.mask else boxes.area(found.bbox),
        "iscrowd": 0,
        "segmentation": _segmentation(found.mask) if found.mask else [[x1, y1, x2, y1, x2, y2, x1, y2]],
    }
    if found.score is not None:
        annotation["score"] = found.score
    if posed:
        annotation |= _pose(found)
    for key in ("caption", "category", "text"):
        if (words := getattr(found, key)) is not None:
            annotation[key] = words
    if found.keypoints:
        annotation["points"] = [point.model_dump(exclude_none=True) for point in found.keypoints]
    return annotation


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


def _segmentation(mask: Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}
