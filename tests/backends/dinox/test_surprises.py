"""Whatever the service sends, it is read or refused in one line: nothing in a reply crashes a call."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dinox_mcp.backends.dinox.models import DINO_X
from dinox_mcp.backends.dinox.upload import Frames
from dinox_mcp.backends.dinox.wire import objects, question, regions
from dinox_mcp.backends.dinox.wire.question import Question
from dinox_mcp.backends.dinox.wire.regions import RegionQuestion
from dinox_mcp.errors import ServiceError
from dinox_mcp.types.detection import Detection

TARGETS = ("bbox", "mask", "pose_keypoints", "hand_keypoints")
QUESTION = Question(DINO_X, b"", Frames((100, 50), (50, 25)), question.spelled({}), TARGETS)
BOXES = ((0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0))
REGIONS = RegionQuestion(b"", BOXES, {"caption": "caption", "category": "roc", "text": "ocr"})
THINGS = [Detection(label="thing", bbox=bbox) for bbox in BOXES]

numbers = st.integers() | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
boxes = st.lists(numbers, min_size=4, max_size=4)
masks = st.fixed_dictionaries({"counts": st.text("0123oPX", max_size=6), "size": st.lists(numbers, max_size=2)})
points = st.lists(numbers, min_size=68, max_size=68)
found = st.fixed_dictionaries(
    {"category": anything | st.just("dog"), "score": anything, "bbox": boxes | anything},
    optional={"mask": masks | anything, "pose": points | anything, "hand": points | anything},
)
told = st.fixed_dictionaries({}, optional=dict.fromkeys(("region", "caption", "roc", "ocr"), anything | boxes))


@settings(max_examples=150, deadline=None)
@given(st.lists(found | anything, max_size=5) | anything)
def test_objects_of_any_shape_are_read_or_left_out(things: Any) -> None:  # noqa: ANN401 - that is the point
    try:
        answer = objects.read({"objects": things}, QUESTION)
    except ServiceError:
        assert not isinstance(things, list)
        return

    left_out = sum(int(note.split()[0]) for note in answer.notes if "left out" in note)
    assert len(answer.objects) + left_out == len(things)


@settings(max_examples=150, deadline=None)
@given(st.lists(told | anything, max_size=5) | anything)
def test_descriptions_of_any_shape_keep_the_objects(things: Any) -> None:  # noqa: ANN401 - that is the point
    try:
        answer = regions.read({"objects": things}, REGIONS, THINGS)
    except ServiceError:
        assert not isinstance(things, list)
        return

    assert [one.bbox for one in answer.objects] == list(BOXES)
    assert all(one.caption is None or one.caption.strip() for one in answer.objects)
