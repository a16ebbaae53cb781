"""Thresholds of labels come from a file, and hold for the model that they were tuned for."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dinox_mcp.backends.base import Call
from dinox_mcp.detector import Detector
from dinox_mcp.errors import SettingsError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import Detection, DetectionRequest, Detections
from tests.fakes import FakeBackend, png

pytestmark = pytest.mark.anyio
FILE = """
backend = "fake"
model = "fake-1"
min_score = 0.5

[labels]
dog = 0.1
"traffic light" = 0.8
"""


@dataclass
class Scored(FakeBackend):
    """Finds an object of each label at each of these scores, if the request wants so little."""

    answer: tuple[Detection, ...] = tuple(
        Detection(label=label, bbox=(10 * place, 0, 10 * place + 9, 9), score=score, category=category)
        for label, category in (("dog", None), ("Traffic Light", None), ("cat", None), ("puppy", "dog"))
        for place, score in enumerate((0.05, 0.15, 0.3, 0.6, 0.9))
    )

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        found = await super().detect(image, request, call)
        kept = tuple(one for one in found.objects if (one.score or 0) >= request.min_score)
        return found.model_copy(update={"objects": kept})


@pytest.fixture
def image(tmp_path: Path) -> str:
    (tmp_path / "image.png").write_bytes(png())
    return str(tmp_path / "image.png")


def detector(folder: Path, content: str = FILE, backend: FakeBackend | None = None) -> Detector:
    path = folder / "thresholds.toml"
    path.write_text(content)
    return Detector(Settings.load(backend="fake", min_scores=path), [backend or Scored()])


PROMPTS = ("dog", "Traffic Light", "cat", "puppy")


async def test_each_label_has_its_own_threshold(image: str, tmp_path: Path) -> None:
    result = await detector(tmp_path).detect(image, PROMPTS)
    assert result.counts == {"dog": 4, "Traffic Light": 1, "cat": 2, "puppy": 4}, "a puppy is what the model calls dog"
    note = result.notes[0]
    assert note == "min_score by label, as DINOX_MCP_MIN_SCORES has it: dog 0.1, Traffic Light 0.8, others 0.5"


async def test_a_result_names_the_threshold_of_what_the_model_calls_an_object(image: str, tmp_path: Path) -> None:
    puppy = Detection(label="puppy", bbox=(0, 0, 9, 9), score=0.3, category="dog")
    result = await detector(tmp_path, backend=Scored(answer=(puppy,))).detect(image, ["puppy"])
    assert result.notes[0] == "min_score by label, as DINOX_MCP_MIN_SCORES has it: dog 0.1, others 0.5"


async def test_a_result_without_thresholds_of_labels_says_nothing_of_them(image: str, tmp_path: Path) -> None:
    cat = Detection(label="cat", bbox=(0, 0, 9, 9), score=0.3)
    thresholds = FILE.replace("min_score = 0.5", "")
    result = await detector(tmp_path, thresholds, Scored(answer=(cat,))).detect(image, ["cat"])
    assert not any("min_score" in note for note in result.notes)


async def test_objects_are_counted_by_the_thresholds_of_their_labels(image: str, tmp_path: Path) -> None:
    count = await detector(tmp_path).count_objects(image, PROMPTS)
    assert count.result.counts == {"dog": 4, "Traffic Light": 1, "cat": 2, "puppy": 4}
    assert count.levels[0].counts["Traffic Light"] == 4, "at 0.1 all of them"


async def test_a_threshold_of_the_caller_wins(image: str, tmp_path: Path) -> None:
    result = await detector(tmp_path).detect(image, PROMPTS, min_score=0.85)
    assert set(result.counts.values()) == {1}
    assert not any("min_score" in note for note in result.notes)


@pytest.mark.parametrize("whose", ['model = "other"', 'model = "fake-1 + other"'])
async def test_thresholds_of_another_model_are_not_used(image: str, tmp_path: Path, whose: str) -> None:
    result = await detector(tmp_path, FILE.replace('model = "fake-1"', whose)).detect(image, PROMPTS)
    assert set(result.counts.values()) == {3}, "the model's own 0.25"
    assert "DINOX_MCP_MIN_SCORES was not used: it is for the model" in result.notes[0]


async def test_thresholds_of_another_backend_change_nothing(image: str, tmp_path: Path) -> None:
    backend = Scored()
    result = await detector(tmp_path, FILE.replace('"fake"', '"elsewhere"'), backend).detect(image, PROMPTS)
    assert set(result.counts.values()) == {3}
    assert backend.asked[0][1].min_score == 0.25
    assert result.notes[0] == "DINOX_MCP_MIN_SCORES was not used: it is for the backend elsewhere, not fake"


async def test_labels_without_one_keep_the_threshold_of_the_model(image: str, tmp_path: Path) -> None:
    result = await detector(tmp_path, FILE.replace("min_score = 0.5", "")).detect(image, ["cat", "dog"])
    assert (result.counts["cat"], result.counts["dog"]) == (3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "is not TOML"),
        ("[" * 5000, "is not TOML"),
        ("model = " + "1" * 5000, "is not TOML"),
        ('backend = "fake"', "model of .* is wrong"),
        (FILE.replace("0.8", "8"), r"labels.traffic light of .* is wrong \(input should be less than or equal to 1"),
        (FILE + 'x = "' + "y" * 1024 * 1024 + '"', "has more than 1048576 bytes"),
    ],
)
def test_a_bad_file_is_one_line_with_the_remedy(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"DINOX_MCP_MIN_SCORES: .*{message}") as caught:
        detector(tmp_path, content)
    assert caught.value.remedy == "make one with dinox-mcp evaluate --tune FILE, or unset it"
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*nowhere\.toml"):
        Detector(Settings.load(backend="fake", min_scores=tmp_path / "nowhere.toml"), [Scored()])
