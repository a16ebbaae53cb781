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
    from dinox_mcp import errors as errors
    from dinox_mcp.backends.base import Backend as Backend
    from dinox_mcp.backends.base import Call as Call
    from dinox_mcp.backends.base import Capabilities as Capabilities
    from dinox_mcp.backends.base import Fit as Fit
    from dinox_mcp.backends.base import Model as Model
    from dinox_mcp.backends.base import Unready as Unready
    from dinox_mcp.batch.report import BatchResult as BatchResult
    from dinox_mcp.batch.summary import SearchResult as SearchResult
    from dinox_mcp.compare.comparison import Change as Change
    from dinox_mcp.compare.comparison import Comparison as Comparison
    from dinox_mcp.detect.counting import Count as Count
    from dinox_mcp.detect.options import Caller as Caller
    from dinox_mcp.detect.options import Options as Options
    from dinox_mcp.detect.visual_prompts import VisualPrompt as VisualPrompt
    from dinox_mcp.detector import Detector as Detector
    from dinox_mcp.drawing.output import write_annotated as write_annotated
    from dinox_mcp.drawing.style import Style as Style
    from dinox_mcp.errors import BackendError as BackendError
    from dinox_mcp.errors import DinoxError as DinoxError
    from dinox_mcp.errors import InputError as InputError
    from dinox_mcp.export.options import Exported as Exported
    from dinox_mcp.export.options import ExportOptions as ExportOptions
    from dinox_mcp.images.picture import Picture as Picture
    from dinox_mcp.server.app import build_server as build_server
    from dinox_mcp.settings import Settings as Settings
    from dinox_mcp.types import masks as masks
    from dinox_mcp.types.coco import to_coco as to_coco
    from dinox_mcp.types.detection import DetectedObject as DetectedObject
    from dinox_mcp.types.detection import Detection as Detection
    from dinox_mcp.types.detection import DetectionRequest as DetectionRequest
    from dinox_mcp.types.detection import DetectionResult as DetectionResult
    from dinox_mcp.types.detection import Detections as Detections
    from dinox_mcp.types.video import VideoResult as VideoResult

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
