"""The page loads nothing and holds what it must, and tuned thresholds are a file that the settings take."""

import json
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dinox_mcp.backends.base import Call, silent
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.evaluation.datasets import Kind, load
from dinox_mcp.evaluation.report import Report
from dinox_mcp.evaluation.run import Choices, Evaluation
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.fakes import FakeBackend, png

pytestmark = pytest.mark.anyio
IMAGES = 6


class Guess(FakeBackend):
    """Finds the labelled dog surely, a cat where there is another dog, and less surely a dog where nothing is."""

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        objects = [("dog", (10, 10, 40, 40), 0.9), ("cat", (50, 10, 90, 40), 0.8), ("dog", (10, 60, 40, 90), 0.4)]
        kept = [Detection(label=label, bbox=bbox, score=score) for label, bbox, score in objects]
        kept = [one for one in kept if one.label in (request.prompts or ()) and (one.score or 0) >= request.min_score]
        return found.model_copy(update={"objects": tuple(kept)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images with two dogs each; the name of a category and of a file would be markup if they were not escaped."""
    names = [f"{number}.png" for number in range(IMAGES - 1)] + ["<b>&.png"]
    for name in names:
        (tmp_path / name).write_bytes(png())
    boxes = [[10, 10, 30, 30], [50, 10, 40, 30]]
    data = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "<script>x</script>"}],
        "annotations": [
            *({"image_id": image, "category_id": 0, "bbox": box} for image in range(IMAGES) for box in boxes),
            {"image_id": 0, "category_id": 2, "bbox": [0, 0, 5, 5]},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(data))
    return tmp_path


async def run(folder: Path, kind: Kind = "coco", limit: int | None = None, **files: Path) -> Report:
    choices = Choices(kind, options={"min_score": 0.01}, tunes="thresholds" in files)
    async with Detector(Settings.load(backend="fake"), [Guess()]) as detector:
        return await Evaluation(detector, load(kind, folder, None, limit), choices).run(folder / "run", silent, **files)


class Read(HTMLParser):
    """Reads a page: its text, its elements, and what they would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loaded: list[str] = []
        self.text: list[str] = []
        self.inline: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def drawings(page: Path) -> Iterator[ET.Element]:
    """Read the images with mistakes, which must be well-formed."""
    for drawing in re.findall(r"<figure>(<svg.*?</svg>)", page.read_text()):
        yield ET.fromstring(drawing)  # noqa: S314 - it is the test's own


async def test_the_page_loads_nothing_and_runs_nothing(folder: Path) -> None:
    await run(folder, page=folder / "page.html")
    page = Read(folder / "page.html")
    assert not {"script", "link", "iframe", "object"} & set(page.names)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.loaded)
    assert page.inline == [], "the policy of the page would refuse them"
    assert "default-src 'none'" in (folder / "page.html").read_text()


async def test_the_page_has_figures_curves_categories_confusion_thresholds_and_images(folder: Path) -> None:
    await run(folder, page=folder / "page.html")
    page = Read(folder / "page.html")
    for heading in ("Precision and recall", "Thresholds", "Categories", "Confusion", "Images with most mistakes"):
        assert heading in page.text
    assert page.names.count("image") == IMAGES
    assert "<script>x</script>" in page.text, "as a name, not as an element"
    assert "<b>&.png" in page.text


async def test_each_mistake_is_drawn_at_its_place(folder: Path) -> None:
    await run(folder, page=folder / "page.html", limit=5)
    first, second, *_ = drawings(folder / "page.html")
    boxes = {
        (one.get("class"), one.get("x"), one.get("y"), one.get("width"))
        for one in second.iter("rect")
        if one.get("class") != "under"
    }
    assert boxes == {
        ("right", "10.0", "10.0", "30.0"),
        ("missed", "50.0", "10.0", "40.0"),
        ("wrong", "50.0", "10.0", "40.0"),
        ("wrong", "10.0", "60.0", "30.0"),
    }
    assert first.get("aria-label") == "0.png", "which has one more mistake"
    assert [one.text for one in second.iter("text")] == ["dog", "cat 0.80", "dog 0.40"]


async def test_images_that_are_gone_are_left_out_of_the_page(folder: Path) -> None:
    await run(folder)
    (folder / "1.png").write_bytes(b"broken")
    await run(folder, page=folder / "page.html")
    assert len(list(drawings(folder / "page.html"))) == IMAGES - 1


async def test_a_page_of_counts_has_no_boxes(folder: Path) -> None:
    report = await run(folder, page=folder / "page.html", kind="count")
    page = Read(folder / "page.html")
    assert report.counts
    assert "Counts of labels in images" in page.text
    assert "image" not in page.names


async def test_tuned_thresholds_are_a_file_that_the_settings_take(folder: Path) -> None:
    path = folder / "thresholds.toml"
    report = await run(folder, thresholds=path)
    assert report.tuned is not None
    content = tomllib.loads(path.read_text())
    assert (content["backend"], content["model"]) == ("fake", "fake-1")
    assert content["labels"]["dog"] == report.tuned.labels["dog"] <= 0.4, "where both dogs count, one of them wrongly"
    assert "on images that they were not tuned on" in path.read_text()
    async with Detector(Settings.load(backend="fake", min_scores=path), [Guess()]) as detector:
        result = await detector.detect(str(folder / "0.png"), ["dog"])
    assert result.counts == {"dog": 2}


async def test_images_without_labels_do_not_hide_the_model_of_tuned_thresholds(folder: Path) -> None:
    data = json.loads((folder / "instances.json").read_text())
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] not in (0, 3)]
    for number in (0, 3):
        (folder / f"{number}.png").write_bytes(png(90, 90))
    (folder / "instances.json").write_text(json.dumps(data))
    choices = Choices("count", prompts="present", tunes=True)
    files = {"thresholds": folder / "thresholds.toml"}
    async with Detector(Settings.load(backend="fake"), [Guess()]) as detector:
        await Evaluation(detector, load("count", folder, None), choices).run(folder / "run", silent, **files)
    assert tomllib.loads((folder / "thresholds.toml").read_text())["model"] == "fake-1"


async def test_counts_by_thresholds_of_the_settings_say_so_and_are_those_of_the_page(folder: Path) -> None:
    class Faint(Guess):
        async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
            found = await super().detect(image, request, call)
            faint = (Detection(label="dog", bbox=(0, 0, 9, 9), score=0.2),) if request.min_score <= 0.2 else ()
            return found.model_copy(update={"objects": faint})

    (folder / "0.png").write_bytes(png(90, 90))  # it has other labels than the others
    scores = folder / "thresholds.toml"
    scores.write_text('backend = "fake"\nmodel = "fake-1"\n[labels]\ndog = 0.1\n')
    files, choices = {"page": folder / "page.html"}, Choices("count", prompts="present")
    async with Detector(Settings.load(backend="fake", min_scores=scores), [Faint()]) as detector:
        run = Evaluation(detector, load("count", folder, None), choices)
        report = await run.run(folder / "run", silent, **files)
    assert report.counts[1].mae == 1, "one of two dogs, which scores less than the model's own 0.25"
    assert report.notes == ("min_score by label, as DINOX_MCP_MIN_SCORES has it: dog 0.1",)
    page = (folder / "page.html").read_text()
    assert len(set(re.findall(r'<circle class="dot" [^>]*cy="([^"]*)"', page))) == 2, "0 of the other, and 1 dog"
    assert "Objects counted wrongly in an image, by threshold" not in page


async def test_too_few_images_to_tune_are_refused_before_the_first_is_detected_in(folder: Path) -> None:
    with pytest.raises(InputError, match="--tune needs 5 images or more, not 2; label more"):
        await run(folder, thresholds=folder / "thresholds.toml", limit=2)
    assert not (folder / "run").exists()


async def test_a_run_that_answered_too_few_images_tunes_nothing(folder: Path) -> None:
    for number in range(2):
        (folder / f"{number}.png").write_bytes(b"broken")
    report = await run(folder, thresholds=folder / "thresholds.toml")
    assert report.tuned is None
    assert report.notes == ("no thresholds were tuned, as fewer than 5 images are answered",)
    assert not (folder / "thresholds.toml").exists()


async def test_counts_of_a_run_that_tunes_are_those_at_the_threshold_of_the_model(folder: Path) -> None:
    report = await run(folder, thresholds=folder / "thresholds.toml", kind="count")
    assert report.min_score == 0.01
    assert {one.name: one.mae for one in report.counts}["dog"] == 0, "the model's own 0.25"


@pytest.mark.parametrize("name", ["page", "thresholds"])
async def test_a_file_that_cannot_be_written_is_named(folder: Path, name: str) -> None:
    (folder / "file").touch()
    with pytest.raises(SettingsError, match=r"file/it cannot be written \(.*\); choose another path"):
        await run(folder, **{name: folder / "file" / "it"})


async def test_of_lvis_only_what_is_known_counts_as_a_mistake(folder: Path) -> None:
    data = json.loads((folder / "instances.json").read_text())
    for number, image in enumerate(data["images"]):
        image |= {"neg_category_ids": [1] if number == 0 else [], "not_exhaustive_category_ids": []}
    data["images"][1]["not_exhaustive_category_ids"] = [0]
    for category in data["categories"]:
        category["frequency"] = "c"
    (folder / "instances.json").write_text(json.dumps(data))
    files = {"page": folder / "page.html", "thresholds": folder / "thresholds.toml"}
    report = await run(folder, kind="lvis", **files)
    assert report.tuned is not None
    assert report.tuned.own == pytest.approx(2 / IMAGES), "the cat and the third category of the first image"
    first, *others = drawings(folder / "page.html")
    assert [one.text for one in first.iter("text")][-2:] == ["cat 0.80", "dog 0.40"]
    assert [one.text for other in others for one in other.iter("text") if (one.text or "").startswith("cat")] == []
