"""What goes out: boxes, masks, numbered tags, crops, and the bytes of a picture.

Nothing here knows of backends, files or MCP: pictures and detected objects in, pictures and bytes out.
"""

from dinox_mcp.drawing.annotate import annotate
from dinox_mcp.drawing.crops import Crop, crop, enlarge
from dinox_mcp.drawing.encode import encode_jpeg, encode_png, fit_bytes, mask_png
from dinox_mcp.drawing.style import Style

__all__ = ["Crop", "Style", "annotate", "crop", "encode_jpeg", "encode_png", "enlarge", "fit_bytes", "mask_png"]
