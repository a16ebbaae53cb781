from hypothesis import given, settings
from hypothesis import strategies as st

from dinox_mcp.backends.local.merge import detections, name_once
from dinox_mcp.backends.local.models.base import Found
from dinox_mcp.backends.local.vocabulary import parse
from dinox_mcp.types.boxes import suppress
from dinox_mcp.types.detection import Detection

LABELS = ("animal", "dog", "puppy", "tree")
KINDS = parse("animal\n  dog\n    puppy\ntree", "test")
sides = st.integers(0, 60)
boxes = st.tuples(sides, sides, st.integers(1, 40), st.integers(1, 40)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)
founds = st.lists(
    st.builds(Found, label=st.integers(0, 3), score=st.floats(0, 1), bbox=boxes),
    max_size=25,
    unique_by=lambda f: f.score,
)


@given(founds, st.floats(0.05, 0.95))
@settings(deadline=None)
def test_overlaps_are_dropped_as_the_plain_algorithm_drops_them(found: list[Found], threshold: float) -> None:
    plain = [Detection(label=LABELS[one.label], bbox=one.bbox, score=one.score) for one in found]
    assert detections(found, LABELS, (1000, 1000), threshold) == suppress(plain, threshold)


@given(founds)
@settings(deadline=None)
def test_naming_once_invents_nothing_and_is_done_after_one_time(found: list[Found]) -> None:
    objects = detections(found, LABELS, (1000, 1000), 0.8)
    named = name_once(objects, KINDS)
    assert {one.bbox for one in named} <= {one.bbox for one in objects}
    assert {(one.label, one.score) for one in named} <= {(one.label, one.score) for one in objects}
    assert [one.score for one in named] == sorted((one.score for one in named), reverse=True)  # type: ignore[type-var]


def test_thousands_of_boxes_take_moments() -> None:
    found = [
        Found(
            place % 4,
            (place % 997) / 1000,
            (place % 60 * 10.0, place // 60 * 10.0, place % 60 * 10.0 + 14, place // 60 * 10.0 + 14),
        )
        for place in range(3600)
    ]
    objects = detections(found, LABELS, (1000, 1000), 0.8)
    assert len(name_once(objects, KINDS)) == 3600
