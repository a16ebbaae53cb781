import pytest

from dinox_mcp.detect import counting
from dinox_mcp.types.detection import Detection


def bolts(*scores: float | None, side: float = 10) -> list[Detection]:
    return [Detection(label="bolt", bbox=(0, 0, side, side), score=score) for score in scores]


def test_levels_count_what_reaches_each_threshold() -> None:
    levels = {level.min_score: level.counts for level in counting.levels(bolts(0.12, 0.3, 0.9, None), ["bolt"], 0.25)}
    assert (levels[0.1], levels[0.25], levels[0.4], levels[0.8]) == ({"bolt": 4}, {"bolt": 3}, {"bolt": 2}, {"bolt": 2})


def test_the_chosen_threshold_is_among_the_levels_and_none_is_below_what_was_asked() -> None:
    assert 0.33 in {level.min_score for level in counting.levels([], ["bolt"], 0.33)}
    assert min(level.min_score for level in counting.levels([], ["bolt"], 0.33)) == counting.FLOOR
    assert min(level.min_score for level in counting.levels([], ["bolt"], 0.05)) == 0.05


def test_what_was_asked_for_and_not_found_counts_zero() -> None:
    assert all(level.counts == {"nut": 0} for level in counting.levels([], ["nut"], 0.25))


@pytest.mark.parametrize(
    ("size", "side", "tiles"),
    [((1500, 1000), 10, 1), ((3000, 2000), 500, 1), ((3000, 2000), 20, 2), ((2000, 6000), 20, 3), ((3000, 2000), 0, 2)],
    ids=["small picture", "large things", "small things", "very large picture", "nothing found"],
)
def test_a_large_picture_of_small_things_is_worth_tiles(size: tuple[int, int], side: float, tiles: int) -> None:
    assert counting.worthwhile_tiles(size, bolts(0.5, 0.5, side=side) if side else []) == tiles
