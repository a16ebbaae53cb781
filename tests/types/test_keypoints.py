"""Whether a keypoint is there: one rule for the data and the text of replies, and for exports."""

import pytest

from dinox_mcp.server.replies import detection_reply
from dinox_mcp.types.coco import to_coco
from dinox_mcp.types.detection import DetectedObject, DetectionRequest, DetectionResult, ImageInfo, Keypoint
from dinox_mcp.types.keypoints import BODY, is_there, visibility

CASES = (
    (Keypoint(name="nose", x=1, y=2), 2),
    (Keypoint(name="nose", x=1, y=2, visibility=1), 1),
    (Keypoint(name="nose", x=1, y=2, visibility=0), 0),
    (Keypoint(name="nose", x=1, y=2, visibility=0, score=0.9), 0),
    (Keypoint(name="nose", x=1, y=2, score=0.3), 2),
    (Keypoint(name="nose", x=1, y=2, score=0.29), 0),
    (Keypoint(name="nose", x=1, y=2, visibility=2, score=0.1), 0),
)


@pytest.mark.parametrize(("nose", "seen"), CASES)
def test_replies_and_exports_agree_on_whether_a_point_is_there(nose: Keypoint, seen: int) -> None:
    others = (Keypoint(name=name, x=5, y=5) for name in BODY[1:])
    person = DetectedObject(id=1, label="person", bbox=(0, 0, 10, 10), score=0.9, keypoints=(nose, *others))
    result = DetectionResult(
        result_id="r1",
        backend="fake",
        model="fake-1",
        image=ImageInfo(width=10, height=10, source="a.jpg"),
        request=DetectionRequest(),
        objects=(person,),
        counts={"person": 1},
    )
    reply = detection_reply(result)
    (annotation,) = to_coco(result)["annotations"]
    assert (visibility(nose), is_there(nose)) == (seen, seen > 0)
    assert annotation["keypoints"][2] == seen
    assert reply.structured_content is not None
    assert ("nose" in reply.structured_content["objects"][0]["keypoints"]) == (seen > 0)
    assert ("nose 1,2" in getattr(reply.content[0], "text", "")) == (seen > 0)
