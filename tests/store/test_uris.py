import pytest

from dinox_mcp.errors import InputError
from dinox_mcp.store import uris
from dinox_mcp.store.uris import Target


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("dinox://results/abc", Target("abc", "image.jpg")),
        ("dinox://results/abc/", Target("abc", "image.jpg")),
        (uris.PICTURE.format(result_id="abc"), Target("abc", "image.jpg")),
        (uris.ANNOTATED_JPEG.format(result_id="abc"), Target("abc", "annotated.jpg")),
        (uris.ANNOTATED_PNG.format(result_id="abc"), Target("abc", "annotated.png")),
        (uris.CROP.format(result_id="abc", number=7), Target("abc", "crop.jpg", 7)),
        (uris.MASK.format(result_id="abc", number=7), Target("abc", "mask.png", 7)),
    ],
)
def test_every_picture_of_a_result_has_a_uri(uri: str, target: Target) -> None:
    assert uris.parse_image_uri(uri) == target


@pytest.mark.parametrize(
    "uri",
    ["dinox://", "dinox://results/", "dinox://results/abc/coco.json", "dinox://other/abc", "dinox://" + "x" * 999],
)
def test_other_uris_are_refused_with_those_that_work(uri: str) -> None:
    with pytest.raises(InputError, match=r"dinox://results/{result_id}") as caught:
        uris.parse_image_uri(uri)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "written", ["abc", " abc ", "dinox://results/abc", "dinox://results/abc/annotated.jpg", "DINOX://results/abc"]
)
def test_a_result_may_be_written_as_id_or_uri(written: str) -> None:
    assert uris.bare_id(written) == "abc"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("dinox://comparisons/abc", "abc"),
        (f" {uris.SIDE_BY_SIDE.format(comparison_id='abc')} ", "abc"),
        ("dinox://results/abc", None),
        ("dinox://comparisons/abc/other.jpg", None),
    ],
)
def test_a_comparison_has_a_uri(uri: str, name: str | None) -> None:
    assert uris.parse_comparison_uri(uri) == name
