"""A result as COCO JSON, the format that annotation tools and evaluators read."""

from typing import Any

from dinox_mcp import geometry, masks
from dinox_mcp.schema import DetectedObject, DetectionResult, Mask


def to_coco(result: DetectionResult) -> dict[str, Any]:
    """Write a result as a COCO dataset of one image: its objects are the annotations, under their own numbers.

    `bbox` is [x, y, width, height] in original pixels and `area` counts the mask's pixels, or the box's where
    there is no mask; `score` and `text` are present where the object has them. Ready for `json.dumps`.

    Raises:
        ValueError: a mask is not a COCO RLE of the size that it claims.
    """
    labels = list(dict.fromkeys(found.label for found in result.objects))
    categories = {label: number for number, label in enumerate(labels, start=1)}
    return {
        "info": {"description": f"Result {result.result_id} of {result.backend} ({result.model}) by dinox-mcp"},
        "licenses": [],
        "images": [
            {
                "id": 1,
                "file_name": result.image.source,
                "width": result.image.width,
                "height": result.image.height,
            }
        ],
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
        "annotations": [_annotation(found, categories[found.label]) for found in result.objects],
    }


def _annotation(found: DetectedObject, category: int) -> dict[str, Any]:
    x1, y1, x2, y2 = found.bbox
    annotation: dict[str, Any] = {
        "id": found.id,
        "image_id": 1,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": masks.area(found.mask) if found.mask else geometry.area(found.bbox),
        "iscrowd": 0,
    }
    if found.mask:
        annotation["segmentation"] = _segmentation(found.mask)
    if found.score is not None:
        annotation["score"] = found.score
    if found.text is not None:
        annotation["text"] = found.text
    return annotation


def _segmentation(mask: Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}
