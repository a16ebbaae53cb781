"""Exports results as files in a folder, or as resources for callers who cannot read files of this machine.

As resources, a redacted copy, and labels of some objects only, become results of their own: they are kept, bounded and
separate for each caller like every other result, and the copy can be searched again.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from dinox_mcp.errors import NotFoundError
from dinox_mcp.export import labels, output
from dinox_mcp.export.options import LABEL_FORMATS, Exported, ExportOptions, Format, LabelFormat
from dinox_mcp.export.plan import Plan, Selected
from dinox_mcp.images.budget import Slots
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.store import uris
from dinox_mcp.store.results import Store, Stored, new_result_id
from dinox_mcp.types.detection import DetectionRequest, DetectionResult, ImageInfo, count_labels

_FILES: dict[str, tuple[LabelFormat, int]] = {
    "coco.json": ("coco", 0),
    "yolo.txt": ("yolo", 0),
    "classes.txt": ("yolo", 1),
    "voc.xml": ("voc", 0),
    "cvat.xml": ("cvat", 0),
    "labelme.json": ("labelme", 0),
    "label-studio.json": ("labelstudio", 0),
    "objects.csv": ("csv", 0),
}
"""Names of resources with labels: the format, and which of its files it is."""


class Exporter:
    """Exports results.

    Args:
        settings: which folders are allowed.
        store: where the results are, and where redacted copies are kept as results of their own.
        slots: run the slow work.
    """

    def __init__(self, settings: Settings, store: Store, slots: Slots) -> None:
        self._settings, self._store, self._slots = settings, store, slots

    async def export(
        self,
        results: Sequence[DetectionResult],
        export_format: Format,
        folder: Path | None,
        options: ExportOptions,
        tenant: str,
        *,
        known: bool,
    ) -> Exported:
        """Write an export into a folder, or keep it as resources if there is none; see `Detector.export`.

        The results are those of a tenant; it is `known` if it is not an invented one.
        """
        needed = () if folder is not None and export_format in LABEL_FORMATS else results
        pictures = {one.result_id: (await self._store.fetch(one.result_id, tenant)).picture for one in needed}
        plan = Plan(results, pictures, export_format, options)
        if folder is not None:
            overwrite = options.get("overwrite", False)
            return await self._slots.run(partial(output.write, plan, folder, self._settings, overwrite=overwrite))
        files: list[str] = []
        for one in plan.selected:
            made = await self._slots.run(partial(_made, plan, one, self._settings.max_image_pixels))
            if made.result is not one.result:
                await self._store.keep(made.result, made.picture, tenant, known=known)
            files += _addresses(plan, one, made.result.result_id)
        different = ["crops as resources have a margin of 15 per cent, and small ones are enlarged"]
        return plan.done(None, files, different if export_format == "crops" else ())


def label_file(stored: Stored, name: str) -> bytes:
    """Write a file of labels for a result by its name. Slow: call it in a thread.

    Raises:
        NotFoundError: there is no file of this name.
    """
    if name not in _FILES:
        raise NotFoundError(f"there are no labels {name[:40]!r}; choose from {', '.join(_FILES)}")
    label_format, place = _FILES[name]
    return labels.write(label_format, [labels.Labelled("labels", stored.result)])[place].data


def _made(plan: Plan, one: Selected, max_pixels: int) -> Stored:
    """Make the result whose resources are the export; the exported result itself where it serves. Slow."""
    result, picture = one.result, plan.image(one)
    if plan.format == "redacted":
        name = f"{one.stem}-redacted.jpg"
        copy = Picture.from_bytes(plan.redact(one), name, max_pixels=max_pixels)
        redacted = result.model_copy(
            update={
                "result_id": new_result_id(),
                "image": ImageInfo(width=copy.width, height=copy.height, source=name),
                "request": DetectionRequest(),
                "objects": (),
                "counts": {},
                "omitted": 0,
                "notes": (f"a redacted copy of the image of result {result.result_id}",),
                "sources": (),
            }
        )
        return Stored(redacted, copy)
    if plan.format in LABEL_FORMATS and len(one.objects) < len(result.objects):
        some = {"result_id": new_result_id(), "objects": one.objects, "counts": count_labels(one.objects), "omitted": 0}
        return Stored(result.model_copy(update=some), picture)
    return Stored(result, picture)


def _addresses(plan: Plan, one: Selected, result_id: str) -> Iterator[str]:
    """List the URIs of an export below a result."""
    if plan.format in {"crops", "cutouts"}:
        template = uris.CUTOUT if plan.format == "cutouts" else uris.CROP
        for found in one.objects:
            yield template.format(result_id=result_id, number=found.id)
    elif plan.format == "redacted":
        yield uris.PICTURE.format(result_id=result_id)
    else:
        for name, (label_format, _) in _FILES.items():
            if label_format == plan.format:
                yield uris.LABELS.format(result_id=result_id, file=name)
