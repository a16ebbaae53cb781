"""TIFFs with samples that Pillow does not know, or takes for others: opened by their tags, decoded by OpenCV."""

from typing import NamedTuple

from PIL.TiffImagePlugin import TiffImageFile

from dinox_mcp.errors import ImageError

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _PLANAR, _EXTRA, _FORMAT = 277, 284, 338, 339
_RGB, _GREY = 2, {0, 1}
_BANDS = {3, 4}
_SIDEWAYS = {5, 6, 7, 8}
_APART = 2
_ALPHA = {1, 2}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_READABLE = {_UNSIGNED: {10, 12, 14, 16, 32}, _SIGNED: {8, 16, 32}, _FLOAT: {32, 64}}
_BYTE, _SHORT, _LONG = 8, 16, 32
_MOST_BYTES = 1 << 29  # of samples: an image of few bytes may unpack to many


class Samples(NamedTuple):
    """How the samples of a pixel are stored; a `kind` is 1 for unsigned integers, 2 for signed ones, 3 for floats."""

    bands: int
    bits: int
    kind: int
    photometric: int
    is_apart: bool

    @property
    def is_decoded_by_opencv(self) -> bool:
        """Return whether OpenCV decodes them right: gray or RGB, each pixel's samples side by side."""
        is_grey = self.bands == 1 and self.photometric in _GREY
        is_rgb = self.bands in _BANDS and self.photometric == _RGB and not self.is_apart
        return (is_grey or is_rgb) and self.bits in _READABLE.get(self.kind, ())

    def __str__(self) -> str:
        bands = f"{self.bands} bands" if self.bands > 1 else "one band"
        apart = ", stored band after band" if self.is_apart else ""
        return f"{bands} of {self.bits}-bit {'floats' if self.kind == _FLOAT else 'samples'}{apart}"


class Tiff(TiffImageFile):
    """A TIFF whose `samples` say how it is stored, where Pillow does not know it or shows it wrong."""

    samples: Samples | None = None

    def _open(self) -> None:
        try:
            super()._open()  # type: ignore[no-untyped-call, unused-ignore]
        except (SyntaxError, IndexError):  # IndexError: of bands that are stored apart
            samples = _samples(self)
            width, height = (self.tag_v2[tag] for tag in (_WIDTH, _HEIGHT))
            is_sideways = self.tag_v2.get(_ORIENTATION) in _SIDEWAYS
            self._size = (height, width) if is_sideways else (width, height)
            self._mode = self._show_as(samples)
            self.samples = samples
        else:
            samples = _samples(self)
            if _is_wrong_in_pillow(samples, self.mode):
                self.samples = samples

    def _show_as(self, samples: Samples) -> str:
        """Choose a mode; the alpha of floats is left out."""
        is_short = samples.kind == _UNSIGNED and samples.bits <= _SHORT
        if samples.bands == 1:
            return "I;16" if is_short else "F"
        return "RGBA" if is_short and set(self.tag_v2.get(_EXTRA, ())) & _ALPHA else "RGB"

    def check(self, source: str) -> None:
        """Refuse what neither Pillow nor OpenCV decodes right.

        Raises:
            ImageError: it is such a TIFF.
        """
        samples = self.samples
        if samples is None:
            return
        described = f"{source} is a TIFF with {samples}"
        if not samples.is_decoded_by_opencv:
            raise ImageError(f"{described}, which cannot be read; save it as RGB with 8 or 16 bits")
        size = self.width * self.height * samples.bands * samples.bits // 8
        if size > _MOST_BYTES:
            raise ImageError(
                f"{described}, {size:,} bytes of them and more than the {_MOST_BYTES:,} that are read; "
                "save it as RGB with 8 bits"
            )


def _samples(image: TiffImageFile) -> Samples:
    """Read from the tags how samples are stored.

    Raises:
        SyntaxError: the tags do not say it.
    """
    tags = image.tag_v2
    bits, kinds = tags.get(_BITS, (1,)), tags.get(_FORMAT, (_UNSIGNED,))
    count = tags.get(_SAMPLES, 1)
    numbers = (count, tags.get(_PHOTOMETRIC, 0), tags.get(_PLANAR, 1), *bits, *kinds)
    size = tags.get(_WIDTH), tags.get(_HEIGHT)
    if not bits or not kinds or not all(isinstance(number, int) and number >= 0 for number in (*numbers, *size)):
        raise SyntaxError("no size, or no layout of samples")
    is_alike = len({*bits}) == len({*kinds}) == 1
    return Samples(count, max(bits), kinds[0] if is_alike else 0, numbers[1], count > 1 and numbers[2] == _APART)


def _is_wrong_in_pillow(samples: Samples, mode: str) -> bool:
    """Return whether Pillow decodes such a TIFF wrong: deep bands, signed bytes, the upper half of 32 bits."""
    if samples.is_apart:
        return samples.bits > _BYTE
    if samples.kind == _SIGNED:
        return samples.bits == _BYTE
    return samples.kind == _UNSIGNED and samples.bits == _LONG and mode == "I"
