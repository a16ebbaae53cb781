import itertools
import subprocess
import sys

import pytest

from dinox_mcp.drawing.colors import BLACK, WHITE, color_of, contrast, ink_on, palette


@pytest.mark.parametrize("color", palette())
def test_text_on_every_colour_reads_by_wcag_aa(color: tuple[int, int, int]) -> None:
    assert contrast(color, ink_on(color)) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # the well-known #777


def test_dark_backgrounds_take_white_and_light_ones_black() -> None:
    assert ink_on((0, 0, 90)) == WHITE
    assert ink_on((250, 240, 200)) == BLACK


def test_all_colours_differ() -> None:
    apart = [sum(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in itertools.combinations(palette(), 2)]
    assert min(apart) > 20


def test_a_label_has_one_colour_whatever_its_case() -> None:
    assert color_of("Red Car") == color_of("  red car ")


def test_a_label_has_the_same_colour_in_another_process() -> None:
    code = "from dinox_mcp.drawing.colors import color_of; print(color_of('person'), color_of('头盔'))"
    answers = {
        subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert answers == {f"{color_of('person')} {color_of('头盔')}"}


@pytest.mark.parametrize(
    "labels",
    [
        ("text", "QR code", "barcode", "marker"),
        ("person", "car", "truck", "bus", "bicycle", "motorcycle"),
        ("person", "safety helmet", "safety vest", "forklift", "pallet", "box"),
        ("dog", "cat", "person", "bird", "horse"),
    ],
)
def test_labels_often_asked_for_together_differ(labels: tuple[str, ...]) -> None:
    assert len({color_of(label) for label in labels}) == len(labels)


@pytest.mark.parametrize("label", ["", "\ud800", "🦊" * 1000])
def test_any_label_has_a_colour(label: str) -> None:
    assert color_of(label) in palette()
