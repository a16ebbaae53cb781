"""Two pixel frames of one picture: as its caller sees it, and as it is uploaded."""

from collections.abc import Sequence
from dataclasses import dataclass

from dinox_mcp import geometry
from dinox_mcp.backends.dinox.upload import Upload
from dinox_mcp.geometry import Box
from dinox_mcp.images.picture import Picture


@dataclass(frozen=True, slots=True)
class Frames:
    """The way between the frames; sizes are (width, height) in pixels."""

    size: tuple[int, int]
    sent: tuple[int, int]

    @classmethod
    def of(cls, picture: Picture, upload: Upload) -> "Frames":
        """Measure a picture and its upload."""
        return cls((picture.width, picture.height), (upload.width, upload.height))

    @property
    def factors(self) -> tuple[float, float]:
        """How much larger the picture is than its upload, in x and in y."""
        return self.size[0] / self.sent[0], self.size[1] / self.sent[1]

    def back(self, bbox: Sequence[float]) -> Box:
        """Bring a box of the upload to the picture, clipped to it."""
        return geometry.clip(geometry.scale(bbox, *self.factors), *self.size)

    def there(self, bbox: Sequence[float]) -> Box:
        """Bring a box of the picture to the upload, clipped to it."""
        factor_x, factor_y = self.factors
        return geometry.clip(geometry.scale(bbox, 1 / factor_x, 1 / factor_y), *self.sent)
