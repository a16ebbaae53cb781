"""transformers as its documentation has it, with its own settings: the pipeline, or the direct forward.

Run as a process of its own, which imports nothing of ours but this package.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.local.child import serve

Detect = Callable[[Any, list[str]], int]


def pipeline(folder: Path, min_score: float, device: str) -> Detect:
    """Give the zero-shot pipeline: one forward pass a label."""
    from transformers import pipeline

    pipe = pipeline("zero-shot-object-detection", model=str(folder), device=device)
    return lambda image, labels: len(pipe(image, candidate_labels=labels, threshold=min_score))


def direct(folder: Path, min_score: float, device: str) -> Detect:
    """Give processor, model, post-processing: one forward pass for all labels."""
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder).to(device)
    has_spans = model.config.model_type == "grounding-dino"

    def detect(image: Any, labels: list[str]) -> int:  # noqa: ANN401 - a picture of PIL
        inputs = processor(images=image, text=[labels], return_tensors="pt").to(device)
        with torch.no_grad():
            outputs = model(**inputs)
        about = {"input_ids": inputs["input_ids"]} if has_spans else {"text_labels": [labels]}
        [found] = processor.post_process_grounded_object_detection(
            outputs, threshold=min_score, target_sizes=[image.size[::-1]], **about
        )
        return len(found["scores"])

    return detect


def main(contender: str, folder: str, min_score: str, device: str) -> None:
    """Answer requests: seconds from the picture's file to its boxes, and how many."""
    from PIL import Image

    detect = {"pipeline": pipeline, "direct": direct}[contender](Path(folder), float(min_score), device)

    def ask(picture: str, labels: list[str]) -> tuple[float, int]:
        started = time.perf_counter()
        with Image.open(picture) as image:
            found = detect(image.convert("RGB"), labels)
        return time.perf_counter() - started, found

    serve({"ask": ask})


if __name__ == "__main__":
    main(*sys.argv[1:])
