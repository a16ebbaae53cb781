"""Builds a release from the one version: `python packaging/release.py [vVERSION]` fills dist/.

The source distribution and the wheel for PyPI, the MCP Bundle, and server.json for the MCP registry with the bundle's
digest. Nothing is uploaded. With a tag it must be that of the version.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import bundle
import describe

from dinox_mcp import __version__


def build(folder: Path) -> list[Path]:
    """Build everything into a folder; gives what was made."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(describe.ROOT)], check=True)
    packed = bundle.pack(folder)
    entry = describe.registry(hashlib.sha256(packed.read_bytes()).hexdigest())
    registry = folder / "server.json"
    registry.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*sorted(folder.glob(f"dinox_mcp-{__version__}*")), packed, registry]


def main() -> None:
    """Refuse what would not fit together, then build."""
    tag = sys.argv[1] if len(sys.argv) > 1 else f"v{__version__}"
    if tag != f"v{__version__}":
        sys.exit(f"the tag {tag} is not that of version {__version__} (dinox_mcp/__init__.py)")
    stale = [path.name for path, text in describe.files().items() if path.read_text("utf-8") != text]
    if stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run python packaging/describe.py and commit")
    for path in build(describe.ROOT / "dist"):
        sys.stdout.write(f"{path.relative_to(describe.ROOT)}  {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
