"""A detector of the kinds of COCO. Run as a process of its own, so that its processor time can be measured."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.local.child import serve

Detect = Callable[[Path], int]
_STARTED = time.perf_counter()


def backend(name: str, folder: str) -> Detect:
    """Give a backend of ours, with its models in this process."""
    from dinox_mcp.backends.base import Call
    from dinox_mcp.backends.registry import Backends
    from dinox_mcp.images.picture import Picture
    from dinox_mcp.settings import Settings
    from dinox_mcp.types.detection import DetectionRequest

    options = {"model": folder, "device": "cpu", "model_process": "same"} if folder else {}
    backend = Backends(Settings.load(backend=name, **options)).get(name)
    loop = asyncio.new_event_loop()
    request = DetectionRequest(prompts=("person", "car", "dog"))

    def detect(picture: Path) -> int:
        found = loop.run_until_complete(backend.detect(Picture.from_bytes(picture.read_bytes()), request, Call()))
        return len(found.objects)

    return detect


def stock(folder: str) -> Detect:
    """Give processor, model and post-processing of transformers, as its documentation has it."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    torch.set_num_threads(1)  # OMP_NUM_THREADS says more
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForObjectDetection.from_pretrained(folder)

    def detect(picture: Path) -> int:
        with Image.open(picture) as image, torch.no_grad():
            outputs = model(**processor(images=image.convert("RGB"), return_tensors="pt"))
            sizes = [image.size[::-1]]
        (found,) = processor.post_process_object_detection(outputs, threshold=0.4, target_sizes=sizes)
        return len(found["scores"])

    return detect


def main(contender: str, folder: str) -> None:
    """Answer requests: seconds from the picture's file to its boxes, of the wall and the processor, and how many.

    The first answer's are since the start. It runs on one processor.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    detect = stock(folder) if contender == "stock" else backend({"ours": "local"}.get(contender, contender), folder)
    since = _STARTED

    def ask(picture: str) -> tuple[float, float, int]:
        nonlocal since
        started, processor = since or time.perf_counter(), time.process_time()
        since = 0.0
        found = detect(Path(picture))
        return time.perf_counter() - started, time.process_time() - processor, found

    serve({"ask": ask})


if __name__ == "__main__":
    main(*sys.argv[1:])
