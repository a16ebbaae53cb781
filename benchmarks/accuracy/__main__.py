"""`python -m benchmarks.accuracy --data FOLDER`: how much the embedded backend finds in labelled photographs.

The product is asked as its users ask it: by the command `dinox-mcp detect --json`, and for counts by the Python API.
FOLDER holds `instances.json` in COCO's format and the pictures in `images`.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.accuracy import parts, people
from benchmarks.accuracy.labelled import PERSON, Answers, Labelled, Share
from benchmarks.contenders import OURS
from benchmarks.harness import BenchmarkError, clean_environment
from benchmarks.tables import Table
from dinox_mcp.detect.counting import DOUBT
from dinox_mcp.detector import Detector
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest

MODELS = {name: ("--model", name) for name in ("embedded", "thorough")}
PACKAGES = ("dinox-mcp", "onnxruntime", "numpy", "pillow", "pycocotools")
_MANY = ("--max-objects", "1000")
_FEW = 5


class Asked(NamedTuple):
    """What was found, and the threshold."""

    answers: Answers
    min_score: float

    def counts(self, low: float = 0, high: float = 2) -> dict[int, int]:
        """Count what scores from `low` to below `high` in each picture."""
        return {
            picture: sum(1 for one in found if low <= one["score"] < high) for picture, found in self.answers.items()
        }


class Asker:
    """Runs the command over all pictures at once, and prints what it ran."""

    def __init__(self, truth: Labelled, folder: Path) -> None:
        self._truth = truth
        self._folder = folder

    def __call__(self, words: Sequence[str], *flags: str) -> Asked:
        """Look for words in all pictures.

        Raises:
            BenchmarkError: the command failed, also if for one picture only.
        """
        flags = (*flags, "--backend", "embedded", "--json")
        files = map(str, self._truth.files.values())
        started = time.perf_counter()
        done = subprocess.run(
            [*OURS, "detect", *files, *words, *flags],
            check=False,
            capture_output=True,
            text=True,
            env=clean_environment(),
        )
        took = time.perf_counter() - started
        if done.returncode:
            raise BenchmarkError(f"dinox-mcp detect {words} {flags} failed: {done.stderr[-1000:]}{done.stdout[-1000:]}")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        shown = shlex.join(words) if len(words) < _FEW else f"{shlex.join(words[:2])} ... ({len(words)} kinds)"
        print(f"dinox-mcp detect {self._folder}/images/*.jpg {shown} {shlex.join(flags)}")
        print(f"    {results[0]['model']}: {len(results)} pictures in {took:.1f} s", flush=True)
        answers = {picture: result["objects"] for picture, result in zip(self._truth.files, results, strict=True)}
        return Asked(answers, results[0]["request"]["min_score"])


def main() -> int:
    """Measure and print: 1 if something failed to run, 2 without data, never because little was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of labelled photographs")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures, to see that everything runs")
    options = parser.parse_args()
    if not (options.data and (options.data / "instances.json").is_file() and (options.data / "images").is_dir()):
        print(
            "Pass --data FOLDER with COCO's annotations as instances.json and their pictures in images/, for example "
            "of val2017 from https://cocodataset.org",
            file=sys.stderr,
        )
        return 2
    truth = Labelled(options.data.resolve(), options.limit)
    ask = Asker(truth, options.data)
    print(f"CPython {platform.python_version()} on {platform.system()} {platform.machine()}; {_packages()}")
    print(f"{_busy()}\n", flush=True)
    for measure in (_boxes, _people, _counts, *([_parts] if truth.posed else [])):
        print(f"\n{measure(truth, ask)}\n", flush=True)
    print(_busy())
    return 0


def _packages() -> str:
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def _busy() -> str:
    return f"Load average of the last minute: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _boxes(truth: Labelled, ask: Asker) -> Table:
    asked = [ask(list(truth.kinds), *flags, "--min-score", "0.05", *_MANY) for flags in MODELS.values()]
    of_all = [truth.boxes(one.answers) for one in asked]
    of_persons = [truth.boxes(one.answers, PERSON) for one in asked]
    table = Table(f"Boxes of {len(truth.kinds)} kinds in {len(truth.files)} photographs", list(MODELS))
    enough = 100 * of_all[0].ap >= 29.5 and 100 * of_all[1].ap >= 31.5
    table.add("AP", *(_percent(one.ap) for one in of_all), goal="29.5 and 31.5", met=enough)
    table.add("AP50", *(_percent(one.ap50) for one in of_all))
    for size in ("small", "medium", "large"):
        table.add(f"AP of {size} objects", *(_percent(getattr(one, size)) for one in of_all))
    enough = 100 * of_persons[1].ap >= 45.5
    table.add("AP of persons", *(_percent(one.ap) for one in of_persons), goal="thorough 45.5", met=enough)
    table.add("AP50 of persons", *(_percent(one.ap50) for one in of_persons))
    return table


def _people(truth: Labelled, ask: Asker) -> Table:
    asked = [ask([PERSON], *flags) for flags in MODELS.values()]
    found = [people.quality(truth, one.answers) for one in asked]
    table = Table("People found at the models' own thresholds", list(MODELS))
    table.add("threshold", *(f"{one.min_score:g}" for one in asked))
    table.add("precision", *(f"{one.precision:.3f}" for one in found))
    table.add("recall", *(f"{one.recall:.3f}" for one in found))
    table.add("F1", *(f"{one.f1:.3f}" for one in found), goal="0.70 each", met=min(one.f1 for one in found) >= 0.7)
    _add_errors(table, *(people.errors(truth, one.counts()) for one in asked))
    table.remarks.append("IoU from 0.5. Regions labelled as crowds are ignored, and counts of pictures with one.")
    return table


def _counts(truth: Labelled, ask: Asker) -> Table:
    counts, doubtful, request = asyncio.run(_count(truth))
    threshold, lowest = request.min_score, request.min_score - DOUBT
    model = ("--model", request.model) if request.model else ()
    asked = ask([PERSON], *model, "--min-score", "0.1", *_MANY)
    table = Table("People counted by Detector.count_objects", ["ours"])
    table.add("threshold", f"{threshold:g}")
    _add_errors(table, people.errors(truth, counts))
    table.add("doubtful persons", str(sum(doubtful.values())))
    table.add("of these, persons not yet counted", str(people.doubtful(truth, asked.answers, lowest, threshold)))
    table.remarks.append("Which the doubtful ones are is taken from the command's answer; those in crowds are ignored.")
    if counts != asked.counts(threshold) or doubtful != asked.counts(lowest, threshold):
        table.remarks.append("THE COMMAND FINDS OTHER NUMBERS, so that the share of the doubtful is not to be trusted.")
    return table


async def _count(truth: Labelled) -> tuple[dict[int, int], dict[int, int], DetectionRequest]:
    """Count people in all pictures: how many there are, how many are doubtful, and what the backend was asked."""
    counts, doubtful, request = {}, {}, DetectionRequest()
    async with Detector(Settings(backend="embedded")) as detector:
        for picture, path in truth.files.items():
            count = await detector.count_objects(str(path), PERSON)
            counts[picture] = count.result.counts[PERSON]
            doubtful[picture] = count.doubtful.get(PERSON, 0)
            request = count.result.request
    print(f"Detector(Settings(backend='embedded')).count_objects(path, 'person')\n    {count.result.model}", flush=True)
    return counts, doubtful, request


def _add_errors(table: Table, *errors: tuple[float, Share]) -> None:
    table.add("mean absolute error of the count", *(f"{error:.2f}" for error, _ in errors))
    table.add("counts that are exact", *(str(exact) for _, exact in errors))


def _parts(truth: Labelled, ask: Asker) -> Table:
    table = Table(f"Poses, faces and hands in {len(truth.posed)} photographs with keypoints", ["ours"])
    poses = truth.poses(ask([PERSON], "--include", "pose", "--min-score", "0.15", *_MANY).answers)
    table.add("OKS AP of poses", _percent(poses), goal="44", met=100 * poses >= 44)
    found, nobodys = parts.faces(truth, ask(["face"]).answers)
    enough = found.ratio >= 0.75 if found.whole else None
    table.add("faces with nose and both eyes in sight: found", str(found), goal="75%", met=enough)
    few = nobodys.ratio <= 0.02 if nobodys.whole else None
    table.add("faces outside of labelled persons", str(nobodys), goal="at most 2%", met=few)
    found, nobodys = parts.hands(truth, ask(["hand"], "--include", "hands").answers)
    table.add("wrists in sight of large persons: with a hand", str(found))
    table.add("hands outside of labelled persons", str(nobodys))
    return table


def _percent(part: float) -> str:
    return "-" if part < 0 else f"{100 * part:.1f}"


if __name__ == "__main__":
    sys.exit(main())
