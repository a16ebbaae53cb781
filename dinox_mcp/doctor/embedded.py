"""The embedded backend: whether the models in the wheels are whole, and what can be found with them."""

from collections.abc import Iterator
from importlib.metadata import version

from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import BackendError

_AREA = "Embedded"
_CODE = "dinox-mcp doctor"


def check() -> Iterator[Check]:
    """Load every model, and say what each finds."""
    try:
        yield from _objects()
        yield from _text()
        yield from _codes()
    except (ImportError, OSError) as error:
        remedy = "reinstall: pip install --force-reinstall dinox-mcp"
        yield Check(_AREA, "packages", "problem", f"a package does not load: {error!s:.200}", remedy)


def _objects() -> Iterator[Check]:
    from dinox_mcp.backends.embedded.kinds import KINDS
    from dinox_mcp.backends.embedded.networks import bodies, faces, hands, objects

    try:
        objects.ObjectDetector()
        yield Check(_AREA, "objects", "ok", f"{objects.FAMILY}, {len(KINDS)} kinds of things")
        for part, network in ((bodies, bodies.PoseEstimator), (faces, faces.FaceFinder), (hands, hands.HandFinder)):
            network()
            yield Check(_AREA, part.__name__.rpartition(".")[2], "ok", f"{part.FAMILY}, its files load")
    except BackendError as error:
        yield _broken("objects", error)


def _text() -> Iterator[Check]:
    from dinox_mcp.backends.embedded import models

    try:
        for name in (models.LINES, models.LETTERS, models.TURNS):
            models.Model(name)
        yield Check(_AREA, "text", "ok", f"{models.FAMILY}, its files load")
    except BackendError as error:
        yield _broken("text", error)


def _codes() -> Iterator[Check]:
    """Read a code that is made here, with the reader that the backend uses."""
    import cv2
    import numpy as np

    from dinox_mcp.backends.embedded import symbols
    from dinox_mcp.backends.embedded.vocabulary import Kind

    modules = np.asarray(cv2.QRCodeEncoder.create().encode(_CODE), np.uint8)
    picture = np.pad(modules.repeat(4, axis=0).repeat(4, axis=1), 16, constant_values=255)
    texts = [found.text for found in symbols.read(picture, {Kind.QR})]
    packages = f"ZXing-C++ {version('zxing-cpp')}, OpenCV {cv2.__version__}"
    if texts == [_CODE]:
        yield Check(_AREA, "codes", "ok", f"{packages}, a test code is read")
    else:
        remedy = "reinstall: pip install --force-reinstall zxing-cpp opencv-python-headless"
        yield Check(_AREA, "codes", "problem", f"{packages}: a test code is not read (got {texts})", remedy)


def _broken(name: str, error: BackendError) -> Check:
    said, _, remedy = str(error).partition("; ")
    return Check(_AREA, name, "problem", said, remedy)
