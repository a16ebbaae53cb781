"""What does evaluating boxes take beside pycocotools, in time and memory?

`python -m benchmarks.evaluate` makes random boxes of the number of images and categories that is given, and evaluates
them by both, each in a process of its own that reads the same two files. `--lvis` applies LVIS's rules instead, by ours
alone: the best 300 of each image, and fixed AP. Not in CI.
"""

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.harness import BenchmarkError, Json
from benchmarks.tables import Table
from dinox_mcp.evaluation.datasets import Kind, load
from dinox_mcp.evaluation.labelled import Found
from dinox_mcp.evaluation.precision import COCO, LVIS, LVIS_FIXED, Rules, evaluate

GOAL_S, GOAL_LVIS_S, GOAL_IMAGES = 30.0, 120.0, 5000
LABELLED, FOUND = "labelled.json", "found.json"
_LABELLED_AN_IMAGE, _ABSENT_IN_AN_IMAGE = 7, 10


def make(folder: Path, images: int, categories: int, found_an_image: int) -> None:
    """Write labelled boxes, and found ones: some near these, most anywhere."""
    random = np.random.default_rng(7)
    absent = random.integers(0, categories, (images, _ABSENT_IN_AN_IMAGE)).tolist()
    truth: Json = {
        "images": [
            {"id": number, "file_name": "image.png", "width": 640, "height": 480, "neg_category_ids": absent[number]}
            for number in range(images)
        ],
        "categories": [{"id": number, "name": f"kind {number}", "frequency": "f"} for number in range(categories)],
        "annotations": [],
    }
    found: list[Json] = []
    for image in range(images):
        kinds = random.integers(0, categories, _LABELLED_AN_IMAGE).tolist()
        boxes = np.concatenate([random.uniform(0, 400, (len(kinds), 2)), random.uniform(8, 200, (len(kinds), 2))], 1)
        for kind, box in zip(kinds, boxes, strict=True):
            number = len(truth["annotations"]) + 1
            known = {"image_id": image, "category_id": kind, "bbox": box.tolist()}
            truth["annotations"].append({**known, "id": number, "area": float(box[2] * box[3]), "iscrowd": 0})
        of_found = random.integers(0, len(kinds), found_an_image)
        moved = boxes[of_found] + random.normal(0, 0.15, (found_an_image, 4)) * boxes[of_found][:, [2, 3, 2, 3]]
        moved[:, 2:] = np.abs(moved[:, 2:])
        for place, box in zip(of_found.tolist(), moved, strict=True):
            kind = kinds[place] if random.random() < 0.3 else int(random.integers(0, categories))
            score = float(random.random())
            found.append({"image_id": image, "category_id": kind, "bbox": box.round(2).tolist(), "score": score})
    (folder / LABELLED).write_text(json.dumps(truth))
    (folder / FOUND).write_text(json.dumps(found))
    (folder / "image.png").touch()


def ours(folder: Path) -> float:
    """Evaluate by ours and COCO's rules; give AP."""
    return _ours(folder, "coco", COCO)


def lvis(folder: Path) -> float:
    """Evaluate by ours and both of LVIS's rules; give fixed AP."""
    return _ours(folder, "lvis", LVIS, LVIS_FIXED)


def _ours(folder: Path, kind: Kind, *rules: Rules) -> float:
    truth = load(kind, folder / LABELLED, folder).truth
    found = json.loads((folder / FOUND).read_bytes())
    bbox = np.array([one["bbox"] for one in found])
    objects = Found(  # here positions are the numbers of the files
        np.array([one["image_id"] for one in found]),
        np.array([one["category_id"] for one in found]),
        bbox,
        np.array([one["score"] for one in found]),
        bbox[:, 2] * bbox[:, 3],
    )
    del found
    results = [evaluate(truth, objects, one).figures["AP"] for one in rules]
    return results[-1] or 0


def theirs(folder: Path) -> float:
    """Evaluate by pycocotools; give AP."""
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(folder / LABELLED))
        judge = COCOeval(truth, truth.loadRes(str(folder / FOUND)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


CONTENDERS: dict[str, Callable[[Path], float]] = {"ours": ours, "pycocotools": theirs, "ours, LVIS": lvis}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__)
    parser.add_argument("--images", type=int, default=2000, help="number of images (2000)")
    parser.add_argument("--categories", type=int, default=80, help="number of categories (80)")
    parser.add_argument("--found", type=int, default=100, help="found boxes of each image (100)")
    parser.add_argument("--lvis", action="store_true", help="LVIS's rules instead of COCO's")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        began = time.perf_counter()
        ap = CONTENDERS[options.only](options.folder)
        took, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu = time.process_time()
        print(json.dumps({"ap": ap, "seconds": took, "cpu": cpu, "mib": peak}))
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.images, options.categories, options.found)
        contenders = ["ours, LVIS"] if options.lvis else ["ours", "pycocotools"]
        results = {contender: _measure(contender, folder) for contender in contenders}
    print(_table(options, results))


def _measure(contender: str, folder: Path) -> Json:
    """Run a contender in a process of its own.

    Raises:
        BenchmarkError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.evaluate", "--only", contender, "--folder", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{contender} failed: {done.stderr[-1000:]}")
    result: Json = json.loads(done.stdout)
    return result


def _table(options: argparse.Namespace, results: dict[str, Json]) -> Table:
    title = f"Boxes of {options.images:,} images, {options.categories:,} categories, {options.found} found an image"
    table = Table(title, list(results))
    first, goal = next(iter(results.values())), GOAL_LVIS_S if options.lvis else GOAL_S
    met = first["seconds"] <= goal if options.images >= GOAL_IMAGES else None
    seconds = (f"{one['seconds']:.1f} s" for one in results.values())
    table.add("time, files read", *seconds, goal=f"{GOAL_IMAGES:,} images: {goal:g} s", met=met)
    table.add("time of the processor", *(f"{one['cpu']:.1f} s" for one in results.values()))
    table.add("peak memory", *(f"{one['mib']:.0f} MiB" for one in results.values()))
    table.add("AP", *(f"{100 * one['ap']:.6f}" for one in results.values()))
    return table


if __name__ == "__main__":
    main()
