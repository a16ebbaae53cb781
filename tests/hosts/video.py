"""A short clip in which the sample's QR code moves."""

from pathlib import Path

QR_CODE = (262, 548, 418, 704)
"""Where it is in examples/sample.png, with a margin."""


def write_video(path: Path, sample: Path) -> None:
    """Write two seconds of 480x360, five frames a second."""
    import av
    from PIL import Image

    with Image.open(sample) as picture:
        code = picture.convert("RGB").crop(QR_CODE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 480, 360
        stream.bit_rate = 4_000_000
        for number in range(10):
            frame = Image.new("RGB", (480, 360), "white")
            frame.paste(code, (20 + 30 * number, 100))
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
