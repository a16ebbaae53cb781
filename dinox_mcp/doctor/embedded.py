"""The embedded backend: whether the models in the wheels it depends on are whole."""

from collections.abc import Iterator

from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import BackendError

_AREA = "Embedded"


def check() -> Iterator[Check]:
    """Load the text models, and say which OpenCV reads codes and markers."""
    try:
        import cv2

        from dinox_mcp.backends.embedded import models

        for name in (models.LINES, models.LETTERS, models.TURNS):
            models.Model(name)
        yield Check(_AREA, "text", "ok", f"{models.FAMILY}, its files load")
        yield Check(_AREA, "codes", "ok", f"OpenCV {cv2.__version__}")
    except BackendError as error:
        said, _, remedy = str(error).partition("; ")
        yield Check(_AREA, "text", "problem", said, remedy)
    except (ImportError, OSError) as error:
        remedy = "reinstall: pip install --force-reinstall dinox-mcp"
        yield Check(_AREA, "packages", "problem", f"a package does not load: {error!s:.200}", remedy)
