import pytest

from dinox_mcp import links
from dinox_mcp.errors import InputError
from dinox_mcp.links import Target


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("dinox://results/abc", Target("abc", "image.jpg")),
        ("dinox://results/abc/", Target("abc", "image.jpg")),
        (links.PICTURE.format(result_id="abc"), Target("abc", "image.jpg")),
        (links.ANNOTATED_JPEG.format(result_id="abc"), Target("abc", "annotated.jpg")),
        (links.ANNOTATED_PNG.format(result_id="abc"), Target("abc", "annotated.png")),
        (links.CROP.format(result_id="abc", number=7), Target("abc", "crop.jpg", 7)),
        (links.MASK.format(result_id="abc", number=7), Target("abc", "mask.png", 7)),
    ],
)
def test_every_picture_of_a_result_has_a_uri(uri: str, target: Target) -> None:
    assert links.parse_image_uri(uri) == target


@pytest.mark.parametrize(
    "uri",
    ["dinox://", "dinox://results/", "dinox://results/abc/coco.json", "dinox://other/abc", "dinox://" + "x" * 999],
)
def test_other_uris_are_refused_with_those_that_work(uri: str) -> None:
    with pytest.raises(InputError, match=r"dinox://results/{result_id}") as caught:
        links.parse_image_uri(uri)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "written", ["abc", " abc ", "dinox://results/abc", "dinox://results/abc/annotated.jpg", "DINOX://results/abc"]
)
def test_a_result_may_be_written_as_id_or_uri(written: str) -> None:
    assert links.bare_id(written) == "abc"
