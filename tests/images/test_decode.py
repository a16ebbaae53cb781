"""What is reserved for decoding an image is at least what decoding takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.samples import encode, field

SIZE = (2400, 1800)
MB = 1_000_000
_CODE = """
import sys
from pathlib import Path
from dinox_mcp.images.budget import PixelBudget
from dinox_mcp.images.picture import Picture

def memory(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

def decoding(self, size, take=PixelBudget.decoding):
    print(size)
    return take(self, size)

folder, side = Path(sys.argv[1]), int(sys.argv[2]) or None
Picture.from_bytes((folder / "small").read_bytes()).rgb(8)  # imports what is needed
image = Picture.from_bytes((folder / "large").read_bytes())
PixelBudget.decoding = decoding
Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
before = memory("VmRSS")
image.rgb(side)
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "mode", "options", "side"),
    [
        ("JPEG", "RGB", {}, 0),
        ("JPEG", "RGB", {}, 1500),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}, 600),
        ("PNG", "RGBA", {"compress_level": 1}, 0),
        ("PNG", "RGBA", {"compress_level": 1}, 1500),
        ("PNG", "L", {"compress_level": 1}, 0),
    ],
    ids=["jpeg", "smaller jpeg", "progressive", "alpha", "smaller alpha", "grey"],
)
def test_as_much_is_reserved_as_is_needed(
    tmp_path: Path, kind: str, mode: str, options: dict[str, object], side: int
) -> None:
    for name, size in (("small", (80, 60)), ("large", SIZE)):
        (tmp_path / name).write_bytes(encode(field(size, mode), kind, **options))
    command = [sys.executable, "-c", _CODE, str(tmp_path), str(side)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own code
    reserved, taken = map(int, run.stdout.split())
    assert 0 < taken < reserved + 7 * MB  # bands, and what a decoder takes however small the image is
