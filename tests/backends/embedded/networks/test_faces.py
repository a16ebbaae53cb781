"""Faces in a photograph, and whose they are."""

import pytest
from PIL import Image

from dinox_mcp.backends.embedded.networks.bodies import Body, PoseEstimator
from dinox_mcp.backends.embedded.networks.faces import FaceFinder
from dinox_mcp.types.boxes import area, intersection
from tests.backends.embedded.networks.scenes import ASTRONAUT, HEAD, photograph


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator()


def test_one_face_is_inside_the_head_and_belongs_to_nobody_known(finder: FaceFinder) -> None:
    (face,) = finder.find(photograph(), [])
    assert intersection(face.bbox, HEAD) / area(face.bbox) > 0.9
    assert face.score > 0.8
    assert face.person is None


def test_a_face_seen_in_the_picture_and_in_a_crop_is_found_once(finder: FaceFinder, estimator: PoseEstimator) -> None:
    reported: list[float] = []
    (face,) = finder.find(photograph(), estimator.estimate(photograph(), [ASTRONAUT]), reported.append)
    assert face.person == 0
    assert reported == [0, 0.5]


def test_a_face_belongs_to_the_nearest_head(finder: FaceFinder, estimator: PoseEstimator) -> None:
    bystander, astronaut = estimator.estimate(photograph(), [(400, 20, 512, 300), ASTRONAUT])
    (face,) = finder.find(photograph(), [bystander, astronaut])
    assert face.person == 1


def far_away() -> tuple[Image.Image, list[Body]]:
    """Show the astronaut small in a large picture, where her face is 20 pixels high."""
    image = Image.new("RGB", (1600, 1200), (120, 120, 120))
    image.paste(photograph().resize((100, 100)), (900, 700))
    return image, PoseEstimator().estimate(image, [(900, 700, 975, 800)])


def test_the_face_of_somebody_far_away_is_found_around_the_head_only(finder: FaceFinder) -> None:
    image, bodies = far_away()
    assert finder.find(image, []) == []
    (face,) = finder.find(image, bodies)
    assert face.person == 0
    assert 930 < face.bbox[0] < face.bbox[2] < 965
    assert 705 < face.bbox[1] < face.bbox[3] < 740


def test_two_people_have_their_own_faces(finder: FaceFinder, estimator: PoseEstimator) -> None:
    image = Image.new("RGB", (800, 512), (120, 120, 120))
    person = photograph().crop((0, 0, 370, 512))
    image.paste(person, (0, 0))
    image.paste(person, (400, 0))
    bodies = estimator.estimate(image, [(420.0, 15.0, 765.0, 512.0), ASTRONAUT])
    faces = finder.find(image, bodies)
    assert {face.person: face.bbox[0] > 400 for face in faces} == {0: True, 1: False}
