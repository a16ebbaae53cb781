"""PDFs made for tests."""

import io
from collections.abc import Sequence

from PIL import Image

from tests.images.samples import field


def of_images(*images: Image.Image, dpi: int = 72) -> bytes:
    """One page for each image, of a pixel a point at 72 dots an inch."""
    file = io.BytesIO()
    first, *others = images or (field(),)
    first.save(file, "PDF", resolution=dpi, save_all=True, append_images=others)
    return file.getvalue()


def written(
    content: bytes = b"", box: Sequence[float] = (0, 0, 200, 100), page: bytes = b"", trailer: bytes = b""
) -> bytes:
    """One page, written by hand: its content stream, its media box, and what else stands in it and in the trailer."""
    edges = b" ".join(f"{edge:g}".encode() for edge in box)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[" + edges + b"]/Contents 4 0 R" + page + b">>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    file = io.BytesIO(b"%PDF-1.7\n")
    file.seek(0, io.SEEK_END)
    places = []
    for number, part in enumerate(parts, start=1):
        places.append(file.tell())
        file.write(b"%d 0 obj%s\nendobj\n" % (number, part))
    start = file.tell()
    file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1))
    file.writelines(b"%010d 00000 n \n" % place for place in places)
    file.write(b"trailer<</Root 1 0 R/Size %d%s>>\nstartxref\n%d\n%%%%EOF" % (len(parts) + 1, trailer, start))
    return file.getvalue()


ENCRYPTED = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O(" + b"o" * 32 + b")/U(" + b"u" * 32 + b")>>/ID[(a)(a)]"
"""What stands in a trailer where a password is needed."""
