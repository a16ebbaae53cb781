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
