"""Eyes for AI assistants: an MCP server that finds objects in images.

The names in `__all__` are the public interface, for Python programs and for backends of your own. Everything else is
internal and may change in any release. A name is imported when it is first used, so that `import dinox_mcp`, with
which the server starts, loads nothing.

Example:
    from dinox_mcp import Detector

    async with Detector() as detector:
        result = await detector.detect("photo.jpg", ["person", "red car"])
"""

TYPE_CHECKING = False  # type checkers know the name; importing `typing` would take 10 ms
if TYPE_CHECKING:
    from dinox_mcp import errors
    from dinox_mcp.backends.base import Backend, Call, Capabilities, Fit, Model, Unready
    from dinox_mcp.batch.report import BatchResult
    from dinox_mcp.batch.summary import SearchResult
    from dinox_mcp.compare.comparison import Change, Comparison
    from dinox_mcp.detect.counting import Count
    from dinox_mcp.detect.options import Caller, Options
    from dinox_mcp.detect.visual_prompts import VisualPrompt
    from dinox_mcp.detector import Detector
    from dinox_mcp.drawing.output import write_annotated
    from dinox_mcp.drawing.style import Style
    from dinox_mcp.errors import BackendError, DinoxError, InputError
    from dinox_mcp.export.options import Exported, ExportOptions
    from dinox_mcp.images.picture import Picture
    from dinox_mcp.server.app import build_server
    from dinox_mcp.settings import Settings
    from dinox_mcp.types import masks
    from dinox_mcp.types.coco import to_coco
    from dinox_mcp.types.detection import DetectedObject, Detection, DetectionRequest, DetectionResult, Detections
    from dinox_mcp.types.video import VideoResult

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "BatchResult",
    "Call",
    "Caller",
    "Capabilities",
    "Change",
    "Comparison",
    "Count",
    "DetectedObject",
    "Detection",
    "DetectionRequest",
    "DetectionResult",
    "Detections",
    "Detector",
    "DinoxError",
    "ExportOptions",
    "Exported",
    "Fit",
    "InputError",
    "Model",
    "Options",
    "Picture",
    "SearchResult",
    "Settings",
    "Style",
    "Unready",
    "VideoResult",
    "VisualPrompt",
    "build_server",
    "errors",
    "masks",
    "to_coco",
    "write_annotated",
]
_NAMES_OF = {
    "backends.base": ("Backend", "Call", "Capabilities", "Fit", "Model", "Unready"),
    "batch.report": ("BatchResult",),
    "batch.summary": ("SearchResult",),
    "compare.comparison": ("Change", "Comparison"),
    "detect.counting": ("Count",),
    "detect.options": ("Caller", "Options"),
    "detect.visual_prompts": ("VisualPrompt",),
    "detector": ("Detector",),
    "drawing.output": ("write_annotated",),
    "drawing.style": ("Style",),
    "errors": ("BackendError", "DinoxError", "InputError"),
    "export.options": ("ExportOptions", "Exported"),
    "images.picture": ("Picture",),
    "server.app": ("build_server",),
    "settings": ("Settings",),
    "types.coco": ("to_coco",),
    "types.detection": ("DetectedObject", "Detection", "DetectionRequest", "DetectionResult", "Detections"),
    "types.video": ("VideoResult",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}
_MODULES = {"errors": "errors", "masks": "types.masks"}
"""Public modules, by their public names."""


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562)."""
    from importlib import import_module

    if name in _MODULES:
        found: object = import_module(f"dinox_mcp.{_MODULES[name]}")
    elif name in _MODULE_OF:
        found = getattr(import_module(f"dinox_mcp.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'dinox_mcp' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
