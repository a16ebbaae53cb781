"""The servers that are compared, each behind the same few verbs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cloud import KEY
from benchmarks.harness import BenchmarkError, Json, Server, text_of

OURS = [str(Path(sys.executable).with_name("dinox-mcp"))]
BARE = [sys.executable, str(Path(__file__).parent / "peers" / "bare.py")]


class Ours(Server):
    """Our server over stdio, on the emulated cloud of a URL, or with its default backend."""

    def __init__(self, url: str | None = None, **environment: str) -> None:
        cloud = {"DINOX_API_BASE_URL": url, "DINOX_API_KEY": KEY} if url else {}
        super().__init__(OURS, cloud | environment)

    def detect(self, picture: Path, labels: Sequence[str], *, captions: bool = False) -> Json:
        """Find things of some labels, and tell what each is where `captions` are wanted."""
        more = {"include": ["caption"]} if captions else {}
        return self.call("detect_objects", image=str(picture), prompts=list(labels), **more)


class Bare(Server):
    """The least that a server of the same SDK can be."""

    def __init__(self) -> None:
        super().__init__(BARE)


class Vendor(Server):
    """The vendor's Node server over stdio, which finds the emulated cloud under the vendor's own name.

    `program` is its index.js, `certificate` the PEM file of who vouches for the emulator, `folder` where it
    writes its pictures.
    """

    def __init__(self, program: Path, certificate: Path, folder: Path) -> None:
        environment = {
            "DINOX_API_KEY": KEY,
            "NODE_EXTRA_CA_CERTS": str(certificate),
            "IMAGE_STORAGE_DIRECTORY": str(folder),
        }
        super().__init__(["node", str(program)], environment)

    def detect(self, picture: Path, labels: Sequence[str], *, captions: bool = False) -> Json:
        """Find things of some labels, and tell what each is where `captions` are wanted."""
        arguments = {"imageFileUri": picture.as_uri(), "textPrompt": ".".join(labels), "includeDescription": captions}
        return self._checked("detect-objects-by-text", arguments)

    def draw(self, picture: Path, things: Sequence[Json]) -> Json:
        """Draw things, each with `label` and `bbox`, and write the picture to the folder."""
        detections = [
            {"name": thing["label"], "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), thing["bbox"], strict=True))}
            for thing in things
        ]
        return self._checked("visualize-detection-result", {"imageFileUri": picture.as_uri(), "detections": detections})

    def _checked(self, tool: str, arguments: Json) -> Json:
        result = self.call(tool, **arguments)
        if text_of(result).startswith("Failed"):  # its errors do not say that they are errors
            raise BenchmarkError(f"{tool}: {text_of(result)}; {self.errors()[-2000:]}")
        return result
