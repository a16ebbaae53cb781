"""Exports results: finds what is exported, and has the files or resources made off the event loop."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dinox_mcp.export import output, resources
from dinox_mcp.export.options import LABEL_FORMATS, Exported, ExportOptions, Format
from dinox_mcp.export.plan import Plan
from dinox_mcp.settings import Settings
from dinox_mcp.store.results import Store
from dinox_mcp.types.detection import DetectionResult

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs slow work on pixels in a thread."""


class Exporter:
    """Exports results.

    Args:
        settings: which folders are allowed.
        store: where the results are, and where redacted copies are kept as results of their own.
        in_thread: runs the slow work.
    """

    def __init__(self, settings: Settings, store: Store, in_thread: InThread) -> None:
        self._settings = settings
        self._store = store
        self._in_thread = in_thread

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
            work = partial(output.write, plan, folder, self._settings, overwrite=options.get("overwrite", False))
            done: Exported = await self._in_thread(work)
            return done
        files: list[str] = []
        for one in plan.selected:
            made = await self._in_thread(partial(resources.make, plan, one, self._settings.max_image_pixels))
            if made.result is not one.result:
                await self._store.keep(made.result, made.picture, tenant, known=known)
            files += resources.addresses(plan, one, made.result.result_id)
        return plan.done(None, files, resources.notes(plan))
