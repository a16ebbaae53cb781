import base64
import io
from pathlib import Path

import pytest
from mcp.types import ImageContent, TextContent
from PIL import Image

from dinox_mcp.drawing.views import JPEG, View
from dinox_mcp.server.tools.pictures import _scale
from dinox_mcp.types.boxes import Box
from tests.fakes import DOG, FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio

FRAME: Box = (0, 0, 4000, 3000)
LEGEND = " The rest of the {} is a legend, by object number."
SENTENCE = "a brown dog with a long tail that runs after a yellow ball on the beach"


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View(b"", JPEG, 4000, 3000, FRAME), "Shown at 4000x3000, pixel for pixel."),
        (View(b"", JPEG, 1000, 750, FRAME), "Shown at 1000x750: one pixel here is 4 of the original."),
        (
            View(b"", JPEG, 500, 900, FRAME, (500, 375)),
            f"Shown at 500x375: one pixel here is 8 of the original.{LEGEND.format('500x900')}",
        ),
        (
            View(b"", JPEG, 5000, 3000, FRAME, (4000, 3000)),
            f"Shown at 4000x3000, pixel for pixel.{LEGEND.format('5000x3000')}",
        ),
    ],
)
async def test_the_scale_is_that_of_the_picture_without_its_legend(view: View, said: str) -> None:
    assert _scale(view) == said


async def test_visualize_tells_the_scale_beside_a_legend(
    connect: Connect, backend: FakeBackend, tmp_path: Path
) -> None:
    photo = tmp_path / "beach.png"
    photo.write_bytes(png(1500, 900))
    backend.answer = (DOG.model_copy(update={"caption": SENTENCE}),)
    async with connect() as client:
        found = await client.call_tool("detect_objects", {"image": str(photo), "prompts": "dog"})
        assert found.structured_content
        arguments = {"result": found.structured_content["result_id"]}
        text, shown = (await client.call_tool("visualize", arguments)).content
        bare, plain = (await client.call_tool("visualize", arguments | {"show": ["boxes", "numbers"]})).content
    assert isinstance(text, TextContent)
    assert isinstance(bare, TextContent)
    assert isinstance(shown, ImageContent)
    assert isinstance(plain, ImageContent)
    width, height = Image.open(io.BytesIO(base64.b64decode(shown.data))).size
    assert f"Shown at 1500x900, pixel for pixel. The rest of the {width}x{height} is a legend" in text.text
    assert Image.open(io.BytesIO(base64.b64decode(plain.data))).size == (1500, 900)
    assert "legend" not in bare.text


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "dogs.png"
    path.write_bytes(png(400, 300))
    return str(path)


DOGS = tuple(
    DOG.model_copy(update={"bbox": (100.0 * number, 20.0, 100.0 * number + 60, 90.0), "score": score})
    for number, score in enumerate((0.9, 0.3, 0.5))
)


async def reply(connect: Connect, photo: str, tool: str, **arguments: object) -> tuple[str, Image.Image]:
    """Find the dogs, and call a tool about the result."""
    async with connect() as client:
        found = await client.call_tool("detect_objects", {"image": photo, "prompts": ["dog", "cat"]})
        assert found.structured_content
        called = await client.call_tool(tool, {"result": found.structured_content["result_id"], **arguments})
    text, *shown = called.content
    assert isinstance(text, TextContent)
    if not shown:
        return text.text, Image.new("RGB", (1, 1))
    assert isinstance(shown[0], ImageContent)
    return text.text, Image.open(io.BytesIO(base64.b64decode(shown[0].data)))


async def test_visualize_dashes_doubtful_objects_and_names_them(
    connect: Connect, backend: FakeBackend, photo: str
) -> None:
    backend.answer = DOGS
    text, _ = await reply(connect, photo, "visualize")
    assert "Dashed as doubtful, less than 0.1 above the threshold: 2." in text
    text, _ = await reply(connect, photo, "visualize", show=["numbers"])
    assert "Dashed" not in text


@pytest.mark.slow
async def test_visualize_draws_a_band_of_scores(connect: Connect, backend: FakeBackend, photo: str) -> None:
    backend.answer = DOGS
    text, _ = await reply(connect, photo, "visualize", min_score=0.4, max_score=0.6)
    assert "Drawn: 1 of 3 objects" in text
    text, _ = await reply(connect, photo, "visualize", min_score=0.4, max_score=0.3)
    assert "max_score is 0.3; choose 0.4 to 1" in text


async def test_zoom_by_label_shows_the_only_object_of_it(connect: Connect, backend: FakeBackend, photo: str) -> None:
    backend.answer = (DOG, DOG.model_copy(update={"label": "cat"}))
    text, shown = await reply(connect, photo, "zoom", label="Cat")
    assert text.startswith("Object 2 cat 0.90")
    assert shown.width < 400


async def test_zoom_by_label_shows_several_objects_on_a_sheet(
    connect: Connect, backend: FakeBackend, photo: str
) -> None:
    backend.answer = DOGS
    text, shown = await reply(connect, photo, "zoom", label="dog")
    assert text.startswith("A sheet of 3 objects labelled dog, each cut out over its number.")
    assert text.count("\n") == 5
    assert shown.width > 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "horse"}, "there is no object labelled 'horse'; the labels are 'dog'"),
        ({"label": "dog", "object": 1}, "label is given without a result or with object, image or bbox; pass result"),
    ],
)
async def test_zoom_refuses_a_label_that_is_absent_or_not_alone(
    arguments: dict[str, object], message: str, connect: Connect, backend: FakeBackend, photo: str
) -> None:
    backend.answer = DOGS
    text, _ = await reply(connect, photo, "zoom", **arguments)
    assert message in text
