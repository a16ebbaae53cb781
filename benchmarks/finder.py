"""One who finds objects of 80 kinds, as a process of its own: a line of JSON in, a line of JSON out.

`ours` is the product's detector with ONNX Runtime, as it is. `opencv` is the same with OpenCV's DNN module in its
place: the same file of weights, the same scaling of the picture, the same decoding. `first` asks the whole product
once, as a program does, and ends.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from PIL.Image import Image

    from dinox_mcp.backends.embedded.objects import ObjectDetector
    from dinox_mcp.backends.embedded.runtime import Floats


class Timed:
    """A network that adds up the seconds of its runs."""

    def __init__(self, network: "Callable[[Floats], dict[str, Floats]]") -> None:
        self._network = network
        self.seconds = 0.0

    def __call__(self, batch: "Floats") -> "dict[str, Floats]":
        """Run the network."""
        started = time.perf_counter()
        outputs = self._network(batch)
        self.seconds += time.perf_counter() - started
        return outputs


class OpenCvNetwork:
    """What the product's `Network` is, run by OpenCV."""

    def __init__(self, name: str) -> None:
        import cv2

        from dinox_mcp.backends import embedded

        cv2.setNumThreads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1)
        file = Path(embedded.__file__).parent / "weights" / f"{name}.onnx"
        self._network = cv2.dnn.readNet(str(file))
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def __call__(self, batch: "Floats") -> "dict[str, Floats]":
        """Run the network."""
        import numpy as np

        self._network.setInput(batch)
        outputs = [np.asarray(output, np.float32) for output in self._network.forward(self._outputs)]
        return dict(zip(self._outputs, outputs, strict=True))


def main(contender: str, picture: str) -> None:
    """Be a contender; the lines are the widths that the network is to see."""
    if contender == "first":
        print(json.dumps(asyncio.run(_first(picture))), flush=True)
        return
    from PIL import Image

    from dinox_mcp.backends.embedded import objects, runtime

    image = Image.open(picture).convert("RGB")
    network = Timed((runtime.Network if contender == "ours" else OpenCvNetwork)("nanodet"))
    with mock.patch.object(objects, "Network", return_value=network):
        detector = objects.ObjectDetector()
    for line in sys.stdin:
        print(json.dumps(_time(detector, network, image, json.loads(line))), flush=True)


def _time(detector: "ObjectDetector", network: Timed, image: "Image", widths: Sequence[int]) -> dict[str, Any]:
    """Find objects of at least the default model's score; how long that takes, and what is found."""
    network.seconds = 0.0
    started = time.perf_counter()
    found = detector.detect(image, widths, 0.35, 0.5)
    took = time.perf_counter() - started
    return {
        "seconds": took,
        "network": network.seconds,
        "found": [(one.kind, one.bbox, one.score) for one in found],
    }


async def _first(picture: str) -> dict[str, Any]:
    """Ask the product its first question; the clock starts when it is there to be asked, as a running server is."""
    from dinox_mcp.detector import Detector
    from dinox_mcp.settings import Settings

    async with Detector(Settings(backend="embedded")) as detector:
        started = time.perf_counter()
        result = await detector.detect(picture, ["person"])
        return {"seconds": time.perf_counter() - started, "found": [one.label for one in result.objects]}


if __name__ == "__main__":
    main(*sys.argv[1:])
