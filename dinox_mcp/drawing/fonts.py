"""Where systems keep fonts for scripts that need one: a fixed list of well-known files, never a search."""

import os
import sys
from functools import cache
from itertools import product
from pathlib import Path

_NOTO_SCRIPTS = (
    "Arabic", "Hebrew", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada",
    "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Armenian", "Georgian", "Ethiopic",
)  # fmt: skip

_LINUX = (
    ("/usr/share/fonts", "/usr/local/share/fonts"),
    ("truetype/noto", "opentype/noto", "noto", "google-noto", "truetype/dejavu", "dejavu-sans-fonts", "TTF",
     "truetype/freefont", "gnu-free", "noto-cjk", "google-noto-sans-cjk-fonts"),
    ("DejaVuSans.ttf", *(f"NotoSans{script}-Regular.ttf" for script in _NOTO_SCRIPTS), "NotoSans-Regular.ttf",
     "FreeSans.ttf", "FreeSans.otf", "NotoSansCJK-Regular.ttc"),
)  # fmt: skip
_MACOS = (
    ("/System/Library/Fonts", "/Library/Fonts"),
    ("Supplemental", "."),
    ("Arial Unicode.ttf", "Arial.ttf", "DevanagariMT.ttc", "Thonburi.ttc", "GeezaPro.ttc", "PingFang.ttc",
     "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
)  # fmt: skip
_WINDOWS = (
    (os.environ.get("WINDIR", "C:\\Windows"),),
    ("Fonts",),
    ("segoeui.ttf", "Nirmala.ttc", "Nirmala.ttf", "LeelawUI.ttf", "mmrtext.ttf", "ebrima.ttf", "arial.ttf",
     "msyh.ttc", "malgun.ttf", "YuGothM.ttc", "simsun.ttc"),
)  # fmt: skip


@cache
def installed_fonts() -> tuple[str, ...]:
    """List the well-known font files that this machine has, the most general first."""
    roots, folders, names = {"darwin": _MACOS, "win32": _WINDOWS}.get(sys.platform, _LINUX)
    found = (Path(root, folder, name) for name, root, folder in product(names, roots, folders))
    return tuple(str(path) for path in found if path.is_file())
