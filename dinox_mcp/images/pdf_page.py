"""A program that renders one page of a PDF: `images/pdf.py` runs it as a process of its own.

PDFium is written in C++ and reads hostile files: here it may crash, hang or use up its memory, and the server goes on.
The arguments are the page, the dots an inch, the most pixels and the most seconds. Stdin is the PDF. Stdout is one line
of JSON, and after it the page as PNG, if there is no `error` in the line.
"""

import io
import json
import math
import sys

POINTS = 72
"""PDF points in an inch."""
_MAX_MEMORY = 2 << 30


def main() -> None:
    """Render the page that the arguments name."""
    page, dpi, max_pixels, limit_s = map(int, sys.argv[1:5])
    _limit(limit_s)
    facts, image = render(sys.stdin.buffer.read(), page, dpi, max_pixels)
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + image)
    sys.stdout.buffer.flush()


def render(data: bytes, page: int, dpi: int, max_pixels: int) -> tuple[dict[str, object], bytes]:
    """Render a page with its annotations and forms, upright and cropped as a reader shows it.

    Returns:
        Facts and a PNG. The facts are the number of `pages`, or an `error`: "password", "damaged", "page" (there is
        none of this number), "empty" (it has no area) or "large" (with `width` and `height` in points).
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        return {"error": "password" if "password" in str(error).lower() else "damaged"}, b""
    pages = len(document)
    if page > pages:
        return {"error": "page" if pages else "damaged", "pages": pages}, b""
    if document.get_formtype():
        document.init_forms()  # what is filled in is drawn by this
    try:
        rendered = document[page - 1]
        width, height = rendered.get_size()
        if not (0 < width < math.inf and 0 < height < math.inf):
            return {"error": "empty", "pages": pages}, b""
        scale = dpi / POINTS
        if math.ceil(width * scale) * math.ceil(height * scale) > max_pixels:
            return {"error": "large", "pages": pages, "width": width, "height": height}, b""
        image = rendered.render(scale=scale).to_pil().convert("RGB")
    except pypdfium2.PdfiumError:
        return {"error": "damaged", "pages": pages}, b""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return {"pages": pages}, file.getvalue()


def _limit(seconds: int) -> None:
    """Bound the processor time and the memory of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, _MAX_MEMORY)):
        _, hard = resource.getrlimit(what)
        soft = most if hard < 0 else min(most, hard)
        try:
            resource.setrlimit(what, (soft, hard))
        except (OSError, ValueError):  # macOS refuses some limits; the parent process still has its own on time
            continue


if __name__ == "__main__":
    main()
