"""Which way is up: the turn and the mirroring that a file says its frames are to be shown with."""

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MATRIX = struct.Struct("=9i")
_TURNS = {(False, False): 0, (True, True): 180}
_TURNS_ON_SIDE = {(True, False): 90, (False, True): 270}


class Orientation(NamedTuple):
    """What is done to the pixels of a frame: rows become columns first, then left and right, top and bottom change."""

    on_side: bool = False
    left_right: bool = False
    up_down: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether the frame is shown as in a mirror."""
        return self.on_side ^ self.left_right ^ self.up_down

    @property
    def rotation(self) -> int:
        """By how many degrees clockwise the frame is turned, after left and right changed if it is mirrored."""
        # Left and right of a frame are up and down of one that lies on its side.
        flips = (
            self.left_right ^ (self.mirrored and not self.on_side),
            self.up_down ^ (self.mirrored and self.on_side),
        )
        return (_TURNS_ON_SIDE if self.on_side else _TURNS)[flips]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Give the (width, height) that a frame of a size is shown with; likewise back."""
        return (height, width) if self.on_side else (width, height)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Bring the pixels of a frame, of shape (height, width, ...), into the orientation that they are shown in."""
        if self.on_side:
            pixels = pixels.swapaxes(0, 1)
        if self.left_right:
            pixels = pixels[:, ::-1]
        if self.up_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: "VideoFrame") -> Orientation:
    """Read a frame's display matrix, which says where each of its pixels is shown: (x, y) at (ax + cy, bx + dy)."""
    side_data: Any = frame.side_data  # whose stubs say that it gives strings
    matrix = next((bytes(data) for data in side_data if data.type.name == "DISPLAYMATRIX"), b"")
    if len(matrix) != _MATRIX.size:
        return Orientation()
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(on_side=False, left_right=a < 0, up_down=d < 0)
    return Orientation(on_side=True, left_right=c < 0, up_down=b < 0)
