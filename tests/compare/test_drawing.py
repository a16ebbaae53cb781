import io

import pytest
from PIL import Image

from dinox_mcp.compare.drawing import side_by_side
from dinox_mcp.compare.run import align, compare
from tests.compare.scenes import picture, put, room
from tests.compare.test_run import HERE, parcel, result

SHEET_GAP = 9
"""Pixels around an image on a sheet, at most."""


@pytest.mark.parametrize(("mime_type", "name"), [("image/jpeg", "JPEG"), ("image/png", "PNG")])
@pytest.mark.slow
def test_both_images_are_beside_each_other_with_the_change_in_both(mime_type: str, name: str) -> None:
    before, after = picture(room()), picture(put(room(), HERE))
    comparison = compare("c1", align(before, after), result("a", []), result("b", [parcel(HERE)]))
    sheet = Image.open(io.BytesIO(side_by_side(comparison, before, after, mime_type)))
    bare = Image.open(io.BytesIO(side_by_side(comparison.model_copy(update={"changes": ()}), before, after, mime_type)))
    assert sheet.format == name
    assert sheet.width > 2 * before.width
    assert sheet.height < 2 * before.height
    edge = (HERE[0] + 1, (HERE[1] + HERE[3]) / 2)
    for left in (SHEET_GAP, SHEET_GAP + before.width + SHEET_GAP):
        spot = (
            round(left + edge[0]) - SHEET_GAP,
            round(edge[1]),
            round(left + edge[0]) + SHEET_GAP,
            round(edge[1]) + 9,
        )
        assert sheet.crop(spot).tobytes() != bare.crop(spot).tobytes()
