"""The names of keypoints, in the order of the field's datasets, and which of them a line joins.

Bodies follow COCO (17 points, https://cocodataset.org/#keypoints-2020), hands MediaPipe (21 points). Left and right
are the person's own.
"""

from dinox_mcp.types.detection import Keypoint

BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
FINGERS = ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky")
_THUMB = ("cmc", "mcp", "ip", "tip")
_FINGER = ("mcp", "pip", "dip", "tip")
HAND = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in (_THUMB if finger == "thumb" else _FINGER)))

BODY_BONES = (
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_hip", "right_hip"), ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip
HAND_BONES = (
    *(("wrist", HAND[1 + 4 * finger]) for finger in range(5)),
    *((HAND[index], HAND[index + 1]) for index in range(1, 20) if index % 4),
)

LEAST_SCORE = 0.3
"""Below this confidence a point is a guess about what is not in the image."""


def visibility(point: Keypoint) -> int:
    """Return whether a point is not there (0), hidden (1) or seen (2), as COCO counts.

    A point of less than `LEAST_SCORE` is not there, whatever its visibility; one without either is seen.
    """
    if point.score is not None and point.score < LEAST_SCORE:
        return 0
    return 2 if point.visibility is None else point.visibility


def is_there(point: Keypoint) -> bool:
    """Return whether a point is in the image, seen or hidden: the one rule for replies, drawings and exports."""
    return visibility(point) > 0
