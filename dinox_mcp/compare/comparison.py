"""A comparison of two images and the changes in it."""

from collections import Counter
from typing import Literal

from dinox_mcp.types.detection import BBox, ImageInfo, Point, Score, Value

Kind = Literal["appeared", "disappeared", "moved", "text changed", "changed"]
Registered = Literal["identity", "homography"]
Matrix = tuple[float, float, float, float, float, float, float, float, float]


class Change(Value):
    """A difference between the two images.

    Both boxes are given for every kind: for something that appeared, `before` is where it would have been.

    Attributes:
        id: numbered from 1; this number is drawn on the side-by-side image.
        kind: what happened; "changed" is a part of the image that differs though nothing appeared or moved there.
        before: the box in pixels of the first image.
        after: the box in pixels of the second image.
        label: of the object; None for a part of the image that no detected object explains.
        score: of the detection; the lower one if it was detected in both images.
        object_before: its number in the result of the first image, if it was detected there.
        object_after: the same for the second image.
        text_before: what was read there in the first image.
        text_after: the same for the second image.
        shift: by how many pixels of the second image it moved to the right and down, relative to the scene.
    """

    id: int
    kind: Kind
    before: BBox
    after: BBox
    label: str | None = None
    score: Score | None = None
    object_before: int | None = None
    object_after: int | None = None
    text_before: str | None = None
    text_after: str | None = None
    shift: Point | None = None


class Side(Value):
    """One of the two images, with the result of the detection in it."""

    result_id: str
    image: ImageInfo
    counts: dict[str, int]


class Comparison(Value):
    """The changes between two images of one scene.

    Attributes:
        comparison_id: names the comparison in later calls.
        before: the first image.
        after: the second image.
        registered: "homography" if the camera moved between the images, else "identity".
        homography: the matrix, row by row, that maps pixels of the first image to pixels of the second.
        agreement: how well the registered images fit where both have structure, from 0 to 1.
        changes: what changed, objects before other parts of the image.
        omitted: how many changes were found and are not in `changes`.
        unchanged: how many objects of each label are the same in both images.
        outside: how many objects lie where the other image does not show the scene; they are not compared.
        doubtful: how many objects were detected in one image only while the pixels there are the same; they are not
            changes.
        notes: what the caller must know about this comparison.
    """

    comparison_id: str
    before: Side
    after: Side
    registered: Registered
    homography: Matrix
    agreement: Score
    changes: tuple[Change, ...]
    omitted: int = 0
    unchanged: dict[str, int]
    outside: int = 0
    doubtful: int = 0
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many changes there are of each kind, most frequent first, without the omitted ones."""
        return dict(Counter(change.kind for change in self.changes).most_common())
