"""Examples: what the embedded backend finds that looks like a box in this or another image."""

import base64
import json

import anyio
import cv2
import numpy as np
import pytest

from dinox_mcp.backends.base import Backend, Call, Embedder
from dinox_mcp.backends.embedded import create
from dinox_mcp.errors import BackendError, DeadlineError, InputError
from dinox_mcp.images.picture import Picture
from dinox_mcp.settings import Settings
from dinox_mcp.types.boxes import iou
from dinox_mcp.types.detection import BBox, DetectionRequest, Detections, Embedding, Example
from tests.backends.embedded.planted import (
    KINDS,
    Pixels,
    clutter,
    encode,
    icon,
    logo,
    plant,
    planted,
    screw,
    texture,
)

pytestmark = pytest.mark.anyio
RNG = np.random.default_rng(0)


def rounded(box: BBox) -> BBox:
    """Draw a box as a person would: in full pixels."""
    left, top, right, bottom = (float(round(edge)) for edge in box)
    return left, top, right, bottom


async def find(
    backend: Backend,
    scene: Pixels | Picture,
    *examples: Example,
    pictures: tuple[Picture, ...] = (),
    min_score: float = 0.25,
) -> Detections:
    request = DetectionRequest(examples=examples, min_score=min_score)
    call = Call(pictures={picture.digest: picture for picture in pictures})
    return await backend.detect(scene if isinstance(scene, Picture) else encode(scene), request, call)


def hits(found: Detections, truth: list[BBox]) -> tuple[int, int]:
    """Count copies found, and false hits."""
    near = [max(range(len(truth)), key=lambda i: iou(truth[i], thing.bbox)) for thing in found.objects]
    right = {place for place, thing in zip(near, found.objects, strict=True) if iou(truth[place], thing.bbox) > 0.5}
    return len(right), len(found.objects) - len(right)


def empty(width: int = 900, height: int = 600, seed: int = 5) -> Pixels:
    return clutter(np.random.default_rng(seed), width, height)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_planted_copies_are_found_and_at_most_one_more(backend: Backend, kind: str) -> None:
    scene, truth = planted(kind, 1, (800, 600), copies=10)
    found = await find(backend, scene, Example(label=kind, bbox=rounded(truth[0])))
    right, false = hits(found, truth)
    assert right == 10
    assert false <= 1
    assert {thing.label for thing in found.objects} == {kind}


async def test_the_example_itself_is_the_likeliest_and_scores_tell_copies_apart(backend: Backend) -> None:
    scene = empty()
    box = plant(scene, logo(RNG), (200, 200))
    plant(scene, logo(RNG), (500, 400), 1.2, 9)
    found = await find(backend, scene, Example(bbox=rounded(box)))
    assert [thing.label for thing in found.objects] == ["object", "object"]
    assert found.objects[0].bbox == pytest.approx(box, abs=1)
    scores = [thing.score or 0 for thing in found.objects]
    assert scores[0] > 0.98 > scores[1] > 0.6


async def test_a_box_lies_upright_around_a_turned_copy(backend: Backend) -> None:
    scene = empty()
    thing = texture(np.random.default_rng(3))
    example, turned = plant(scene, thing, (200, 200)), plant(scene, thing, (600, 300), 1.3, 14)
    found = await find(backend, scene, Example(bbox=rounded(example)))
    assert found.objects[1].bbox == pytest.approx(turned, abs=2)


async def test_it_says_what_it_is_and_what_it_made_it_with(backend: Backend) -> None:
    scene = empty()
    found = await find(backend, scene, Example(bbox=rounded(plant(scene, logo(RNG), (200, 200)))))
    assert found.model == f"OpenCV {cv2.__version__}"
    assert "pixel by pixel, not what it is" in found.notes[0]


async def test_color_tells_things_of_one_shape_apart(backend: Backend) -> None:
    scene = empty()
    red, cover = logo(RNG)
    box = plant(scene, (red, cover), (200, 200))
    plant(scene, (np.ascontiguousarray(red[..., ::-1]), cover), (500, 400))
    assert len((await find(backend, scene, Example(bbox=rounded(box)))).objects) == 1


@pytest.mark.slow
async def test_an_example_in_another_picture(backend: Backend) -> None:
    scene, other = empty(), empty(seed=6)
    truth = plant(scene, icon(RNG), (400, 300), 1.2)
    example = Example(label="search", bbox=rounded(plant(other, icon(RNG), (100, 100))), image=encode(other).digest)
    (thing,) = (await find(backend, scene, example, pictures=(encode(other),))).objects
    assert thing.label == "search"
    assert iou(thing.bbox, truth) > 0.9


@pytest.mark.slow
async def test_several_labels_each_get_their_own(backend: Backend) -> None:
    scene = empty()
    boxes = {name: plant(scene, make(RNG), (100 + 200 * at, 100)) for at, (name, make) in enumerate(SHAPES.items())}
    for at, make in enumerate(SHAPES.values()):
        plant(scene, make(RNG), (150 + 200 * at, 400), 0.9, -8)
    found = await find(backend, scene, *(Example(label=name, bbox=rounded(box)) for name, box in boxes.items()))
    assert sorted(thing.label for thing in found.objects) == ["icon", "icon", "logo", "logo", "screw", "screw"]


SHAPES = {"logo": logo, "icon": icon, "screw": screw}


@pytest.mark.slow
async def test_two_examples_of_one_label_list_each_thing_once(backend: Backend) -> None:
    scene = empty()
    boxes = [plant(scene, icon(RNG), (150 + 200 * at, 300), 1 + 0.1 * at) for at in range(3)]
    found = await find(backend, scene, *(Example(bbox=rounded(box)) for box in boxes[:2]))
    assert hits(found, boxes) == (3, 0)


@pytest.mark.slow
async def test_what_looks_more_like_a_negative_is_dropped(backend: Backend) -> None:
    scene = empty()
    plain, cover = icon(RNG)
    badged = plain.copy()
    cv2.circle(badged, (30, 9), 5, (40, 40, 220), -1, cv2.LINE_AA)
    positives = [plant(scene, (plain, cover), (150 + 200 * at, 150)) for at in range(3)]
    negatives = [plant(scene, (badged, cover), (150 + 200 * at, 400)) for at in range(3)]
    example = Example(bbox=rounded(positives[0]))
    assert hits(await find(backend, scene, example), positives + negatives) == (6, 0)
    found = await find(backend, scene, example, Example(bbox=rounded(negatives[0]), negative=True))
    assert hits(found, positives) == (3, 0)


async def test_the_score_floor_is_kept(backend: Backend) -> None:
    scene = empty()
    box = plant(scene, logo(RNG), (200, 200))
    plant(scene, logo(RNG), (500, 400), 1.2, 9)
    assert len((await find(backend, scene, Example(bbox=rounded(box)), min_score=0.97)).objects) == 1


async def test_the_same_request_has_the_same_answer(backend: Backend) -> None:
    scene, truth = planted("screw", 3, (700, 500), copies=8)
    example = Example(bbox=rounded(truth[0]))
    assert await find(backend, scene, example) == await find(create(Settings.load()), scene, example)


@pytest.mark.slow
@pytest.mark.parametrize("side", [12, 260])
async def test_small_and_large_things(backend: Backend, side: int) -> None:
    scene, truth = planted("icon", 4, (1000, 1000), copies=3, side=side)
    right, false = hits(await find(backend, scene, Example(bbox=rounded(truth[0]))), truth)
    assert right == 3
    assert false <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((8, 8), (0, 0, 8, 8)),
        ((3000, 9), (10, 0, 30, 9)),
        ((2000, 12), (0, 0, 2000, 12)),
        ((300, 200), (-50, -50, 5000, 5000)),
        ((300, 200), (280, 180, 300, 200)),
        ((64, 64), (3.4, 5.7, 33.3, 20.2)),
    ],
)
async def test_any_size_of_picture_and_box_is_answered(backend: Backend, size: tuple[int, int], box: BBox) -> None:
    rng = np.random.default_rng(1)
    scene = cv2.resize(rng.integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3)).astype(np.uint8), size)
    found = await find(backend, np.asarray(scene, np.uint8), Example(bbox=box))
    assert found.objects
    for thing in found.objects:
        x1, y1, x2, y2 = thing.bbox
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((10, 10, 17, 60), r"\[10, 10, 17, 60\] covers 7x50 pixels of an image of 300x200; .* needs 8 each way"),
        ((900, 900, 990, 990), "covers 0x0 pixels"),
        ((150, 0, 300, 200), r"nearly of one color \(contrast 0.0 of 255, 6 needed\).*edges or a pattern"),
    ],
)
async def test_an_example_that_cannot_be_known_again_is_refused(backend: Backend, box: BBox, problem: str) -> None:
    scene = np.full((200, 300, 3), 90, np.uint8)
    scene[:, :100] = empty(100, 200)
    with pytest.raises(InputError, match=problem) as caught:
        await find(backend, scene, Example(bbox=box))
    assert "\n" not in str(caught.value)


def test_points_are_not_among_its_capabilities(backend: Backend) -> None:
    assert "points as examples" not in backend.capabilities().answers


async def test_a_missing_picture_of_an_example_is_named(backend: Backend) -> None:
    with pytest.raises(InputError, match="the image of the example 'nut' is missing"):
        await find(backend, empty(), Example(label="nut", bbox=(0, 0, 20, 20), image="0" * 64))


@pytest.mark.slow
async def test_a_saved_prompt_finds_what_its_examples_find(backend: Backend) -> None:
    assert isinstance(backend, Embedder)
    scene, shelf = empty(), empty(seed=6)
    boxes = plant(shelf, logo(RNG, 300), (200, 200)), plant(shelf, icon(RNG), (600, 300))
    truth = [plant(scene, logo(RNG, 300), (250, 250), 0.8, 5), plant(scene, icon(RNG), (700, 400), 1.1)]
    request = DetectionRequest(examples=tuple(Example(label="sign", bbox=rounded(box)) for box in boxes))
    kept = await backend.embed(encode(shelf), request, Call())
    assert (kept.backend, kept.model) == ("embedded", "embedded")
    found = await find(backend, scene, Example(label="anything", embedding=kept))
    assert hits(found, truth) == (2, 0)
    assert {thing.label for thing in found.objects} == {"anything"}


async def test_a_saved_prompt_has_no_negatives(backend: Backend) -> None:
    assert isinstance(backend, Embedder)
    request = DetectionRequest(examples=(Example(bbox=(0, 0, 50, 50), negative=True),))
    with pytest.raises(InputError, match="cannot have negative examples; save it without them"):
        await backend.embed(encode(empty()), request, Call())


@pytest.mark.parametrize(
    "data",
    [
        "no base64!",
        base64.b64encode(b"no json").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(json.dumps([{"size": [20, 20], "png": "AAAA"}]).encode()).decode(),
        base64.b64encode(json.dumps([{"size": [1e300, 20], "png": "AAAA"}]).encode()).decode(),
    ],
)
@pytest.mark.slow
async def test_a_damaged_saved_prompt_is_refused(backend: Backend, data: str) -> None:
    embedding = Embedding(backend="embedded", model="embedded", data=data)
    with pytest.raises(InputError, match=r"the saved prompt of 'nut' is .* damaged; save it again"):
        await find(backend, empty(100, 100), Example(label="nut", embedding=embedding))


async def test_progress_grows_and_names_the_example(backend: Backend) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(fraction: float, message: str) -> None:
        heard.append((fraction, message))

    scene, truth = planted("logo", 1, (700, 500), copies=4)
    request = DetectionRequest(examples=(Example(bbox=rounded(truth[0])), Example(bbox=rounded(truth[1]))))
    await backend.detect(encode(scene), request, Call(hear))
    assert [fraction for fraction, _ in heard] == sorted(fraction for fraction, _ in heard)
    assert "searching for example 1 of 2" in {message for _, message in heard}


@pytest.mark.slow
async def test_a_cancelled_search_frees_its_slot(backend: Backend) -> None:
    scene, truth = planted("icon", 1, (2000, 1500), copies=2, side=16)
    image = encode(scene)
    with anyio.move_on_after(0.5) as scope:
        await find(backend, image, Example(bbox=rounded(truth[0])))
    assert scope.cancelled_caught
    with anyio.fail_after(60):
        await find(backend, empty(200, 200), Example(bbox=(0, 0, 100, 100)))


async def test_a_search_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(DeadlineError) as caught:
        await find(create(Settings.load(timeout_s=0.001)), empty(), Example(bbox=(0, 0, 100, 100)))
    assert isinstance(caught.value, BackendError)
