import itertools

import pytest

from dinox_mcp.drawing.style import BLACK, PALETTE, WHITE, Color, Style, color_of_number, contrast, doubtful, ink_on
from dinox_mcp.types.detection import DetectedObject, DetectionRequest, DetectionResult, Example, ImageInfo, Source


@pytest.mark.parametrize("color", PALETTE)
def test_text_on_every_colour_reads_by_wcag_aa(color: tuple[int, int, int]) -> None:
    assert contrast(color, ink_on(color)) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # the well-known #777


def test_dark_backgrounds_take_white_and_light_ones_black() -> None:
    assert ink_on((0, 0, 90)) == WHITE
    assert ink_on((250, 240, 200)) == BLACK


def test_all_colours_differ() -> None:
    apart = [sum(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in itertools.combinations(PALETTE, 2)]
    assert min(apart) > 20


def test_a_label_has_one_colour_whatever_its_case() -> None:
    assert drawn("dog", "Red Car", "  red car ")[1:] == [color_of_number(2)] * 2


@pytest.mark.parametrize("count", [2, 12, 36])
def test_no_two_labels_of_an_image_share_a_colour(count: int) -> None:
    assert len(set(drawn(*(f"label {number}" for number in range(count))))) == count


def test_one_label_alone_is_coloured_by_number() -> None:
    assert drawn("seed", "seed", "seed") == [color_of_number(number) for number in (1, 2, 3)]


def test_a_part_of_an_image_has_the_colours_of_the_whole() -> None:
    found = objects("cat", "dog", "person")
    alone = Style(all_labels=("cat", "dog", "person")).colors(found[2:])(found[2])
    assert alone == Style().colors(found)(found[2])


@pytest.mark.parametrize("label", ["", "\ud800", "🦊" * 1000])
def test_any_label_has_a_colour(label: str) -> None:
    assert set(drawn(label, "dog")) <= set(PALETTE)


def objects(*labels: str) -> list[DetectedObject]:
    return [DetectedObject(id=place, label=label, bbox=(0, 0, 9, 9)) for place, label in enumerate(labels, start=1)]


def drawn(*labels: str) -> list[Color]:
    """Give the colours in which objects of these labels are drawn together."""
    found = objects(*labels)
    return list(map(Style().colors(found), found))


def test_objects_that_score_little_above_their_threshold_are_doubtful() -> None:
    scores = (0.9, 0.36, 0.34, None, 0.55)
    labels = ("dog", "dog", "dog", "dog", "text")
    objects = tuple(
        DetectedObject(id=number, label=label, bbox=(0, 0, 9, 9), score=score)
        for number, (label, score) in enumerate(zip(labels, scores, strict=True), start=1)
    )
    alone = result(DetectionRequest(prompts=("dog",), min_score=0.25), objects)
    assert doubtful(alone) == (3,)
    source = Source(backend="b", model="m", labels=("text",), min_score=0.5, iou_threshold=0.5)
    assert doubtful(alone.model_copy(update={"sources": (source,)})) == (3, 5)


def test_with_examples_only_a_chosen_threshold_makes_objects_doubtful() -> None:
    objects = (DetectedObject(id=1, label="coin", bbox=(0, 0, 9, 9), score=0.3),)
    example = Example(bbox=(0, 0, 9, 9))
    assert doubtful(result(DetectionRequest(examples=(example,)), objects)) == ()
    assert doubtful(result(DetectionRequest(examples=(example,), min_score=0.25), objects)) == (1,)


def result(request: DetectionRequest, objects: tuple[DetectedObject, ...]) -> DetectionResult:
    return DetectionResult(
        result_id="one",
        backend="b",
        model="m",
        image=ImageInfo(width=10, height=10),
        request=request,
        objects=objects,
        counts={},
    )
