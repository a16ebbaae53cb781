import io
from collections.abc import Iterable

import pytest
from PIL import Image

from dinox_mcp.errors import InputError, NotFoundError
from dinox_mcp.export.options import FORMATS, ExportOptions, Format
from dinox_mcp.export.plan import Plan
from dinox_mcp.images.picture import Picture
from dinox_mcp.types.detection import DetectedObject, ImageInfo, Keypoint
from tests.export.conftest import OBJECTS, result_of
from tests.fakes import picture

CAT, TEXT, CAR = OBJECTS


def plan(export_format: Format, found: Iterable[DetectedObject] = OBJECTS, **options: object) -> Plan:
    chosen = ExportOptions(**options)  # type: ignore[typeddict-item]
    return Plan([result_of(*found)], {"r1": picture(100, 80)}, export_format, chosen)


def files(made: Plan) -> dict[str, bytes]:
    return {name: data for batch in made.batches() for name, data in zip(batch.names, batch.make(), strict=True)}


@pytest.mark.parametrize("export_format", FORMATS)
def test_every_format_makes_files(export_format: Format) -> None:
    made = files(plan(export_format))
    assert made
    assert all(made.values())


def test_objects_are_chosen_by_number_and_label() -> None:
    assert list(files(plan("crops", objects=[3, 2], labels=["RED CAR", "cat"]))) == ["cat 1-3-red_car.jpg"]
    with pytest.raises(NotFoundError, match="there is no object 9"):
        plan("crops", objects=[9])
    with pytest.raises(NotFoundError, match="no object labelled 'dog'"):
        plan("coco", labels=["dog"])


@pytest.mark.parametrize(("ending", "kind"), [("png", "PNG"), ("bmp", "PNG"), ("jpeg", "JPEG"), ("webp", "JPEG")])
def test_a_redacted_copy_is_lossless_where_the_image_is(ending: str, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 80), "white").save(buffer, ending)
    photo = Picture.from_bytes(buffer.getvalue(), f"photo.{ending}")
    ((name, data),) = files(Plan([result_of(CAR)], {"r1": photo}, "redacted", {})).items()
    assert name == f"cat 1-redacted.{'png' if kind == 'PNG' else 'jpg'}"
    assert Image.open(io.BytesIO(data)).format == kind


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "smear"}, "method is 'smear'; choose from fill, blur, pixelate"),
        ({"shape": "star"}, "shape is 'star'; choose from box, mask"),
        ({"padding": -0.1}, "padding is -0.1; choose 0 to 10"),
        ({"padding": float("nan")}, "padding is nan; choose 0 to 10"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan("redacted", **options)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="format is 'tfrecord'; choose from crops, cutouts, redacted, coco"):
        plan("tfrecord")  # type: ignore[arg-type]


def test_a_copy_without_anything_redacted_is_refused_and_labels_without_objects_are_fine() -> None:
    with pytest.raises(InputError, match="a redacted copy would show everything; detect again"):
        plan("redacted", ())
    with pytest.raises(InputError, match="nothing to cut"):
        plan("crops", ())
    assert list(files(plan("voc", ()))) == ["cat 1.xml"]


def test_too_many_pixels_are_refused_before_any_is_made() -> None:
    large = [DetectedObject(id=number, label="x", bbox=(0, 0, 10_000, 10_000)) for number in range(1, 22)]
    result = result_of(*large).model_copy(update={"image": ImageInfo(width=10_000, height=10_000)})
    with pytest.raises(InputError, match="choose some by number or label"):
        Plan([result], {}, "crops", {})


def notes(export_format: Format, found: Iterable[DetectedObject] = OBJECTS, **options: object) -> str:
    return "; ".join(plan(export_format, found, **options).notes)


def test_pixels_are_counted_within_the_image_however_wide_the_margin() -> None:
    full = [CAR.model_copy(update={"id": number, "bbox": (0, 0, 100, 80)}) for number in range(1, 1000)]
    assert len(files(plan("crops", full, padding=10))) == 999


def test_what_is_not_done_is_said() -> None:
    assert "2 objects without a mask: cut out by the box" in notes("cutouts")
    assert "2 objects without a mask: redacted by the box" in notes("redacted", shape="mask")
    assert "without a mask" not in notes("redacted")
    assert "2 objects without a mask: all are written as boxes" in notes("yolo")
    assert notes("yolo", [CAT]) == ""
    posed = CAR.model_copy(update={"keypoints": (Keypoint(name="nose", x=1, y=1),)})
    assert "keypoints are left out: the format coco has them" in notes("voc", [posed])
    assert notes("coco", [posed]) == ""


def test_labels_that_cannot_be_paired_with_their_image_by_name_are_named() -> None:
    results = [result_of(CAR, source=source) for source in ("/a/shelf.jpg", "/a/shelf.png")]
    assert "(shelf-2.txt is one): rename these images" in "; ".join(Plan(results, {}, "yolo", {}).notes)
    assert Plan(results, {}, "coco", {}).notes == ()


def test_a_redacted_copy_comes_with_a_warning() -> None:
    assert "what the detection missed is still visible" in notes("redacted")


@pytest.mark.parametrize(("export_format", "stay"), [("redacted", "they stay visible"), ("csv", "they are left out")])
def test_objects_that_the_result_omits_are_counted(export_format: Format, stay: str) -> None:
    result = result_of(CAR).model_copy(update={"omitted": 7})
    made = Plan([result], {"r1": picture(100, 80)}, export_format, {})
    assert f"7 more were found and are not in the result: {stay}" in "; ".join(made.notes)


def test_the_report_is_complete_in_itself_and_bounded() -> None:
    many = [CAR.model_copy(update={"id": number}) for number in range(1, 31)]
    made = plan("crops", many)
    lines = made.done(None, list(files(made))).lines(20)
    assert lines[0] == "Crops of 30 objects: 30 red car."
    assert len(lines) == 23
    assert lines[-1] == "... and 10 more"
