"""Results are kept within limits of number and bytes, each for its tenant."""

import tracemalloc

import pytest

from dinox_mcp.errors import NotFoundError
from dinox_mcp.images.picture import Picture
from dinox_mcp.store.results import Store, footprint, new_result_id
from dinox_mcp.types.detection import (
    DetectedObject,
    Detection,
    DetectionRequest,
    DetectionResult,
    Detections,
    ImageInfo,
    Mask,
)
from tests.fakes import picture, png

MEGABYTE = 1_000_000


def result(result_id: str, *objects: DetectedObject) -> DetectionResult:
    return DetectionResult(
        result_id=result_id,
        backend="fake",
        model="fake-1",
        image=ImageInfo(width=100, height=100),
        request=DetectionRequest(),
        objects=objects,
        counts={},
    )


def test_a_result_comes_back_with_its_picture() -> None:
    store, white = Store(10, MEGABYTE), picture()
    kept = store.put(result("one"), white)
    assert store.get("one") == (kept, white)


def test_ids_are_long_and_differ() -> None:
    ids = {new_result_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(each) for each in ids} == {16}


def test_an_unknown_result_says_how_to_get_one() -> None:
    with pytest.raises(NotFoundError, match=r"'nope'.*detect_objects"):
        Store(10, MEGABYTE).get("nope")


def test_another_tenant_sees_nothing() -> None:
    store = Store(10, MEGABYTE)
    store.put(result("one"), picture(), "alice")
    with pytest.raises(NotFoundError):
        store.get("one", "bob")
    assert store.recent("bob") == []
    assert store.get("one", "alice").result.result_id == "one"


def test_the_least_recently_used_leaves_first() -> None:
    store = Store(2, MEGABYTE)
    for name in ("one", "two"):
        store.put(result(name), picture())
    store.get("one")
    store.put(result("three"), picture())
    assert [stored.result.result_id for stored in store.recent()] == ["three", "one"]


def test_where_a_picture_came_from_is_its_tenants_affair() -> None:
    store = Store(10, MEGABYTE)
    store.put(result("one"), Picture.from_bytes(png(), "https://alice.example/secret/path.png"), "alice")
    store.put(result("two"), Picture.from_bytes(png(), "data:image/png…"), "bob")
    alice, bob = store.get("one", "alice").picture, store.get("two", "bob").picture
    assert bob.source == "data:image/png…"
    assert alice.data is bob.data


def test_whoever_keeps_much_does_not_crowd_out_the_others() -> None:
    store = Store(4, MEGABYTE)
    store.put(result("mine"), picture(), "alice")
    for number in range(10):
        store.put(result(str(number)), picture(), "bob")
    assert store.get("mine", "alice").result.result_id == "mine"
    assert [stored.result.result_id for stored in store.recent("bob")] == ["9", "8", "7"]


def test_memory_is_bounded_by_bytes_of_pictures_and_masks() -> None:
    store = Store(1000, 20_000)
    mask = Mask(size=(100, 100), counts="0" * 5000)
    for number in range(20):
        found = DetectedObject(id=1, label="dog", bbox=(0, 0, 1, 1), mask=mask)
        store.put(result(str(number), found), picture(width=100 + number))
    kept = store.recent()
    assert 1 <= len(kept) <= 4
    assert sum(len(stored.picture.data) + len(mask.counts) for stored in kept) <= 20_000


def test_the_newest_stays_even_when_it_is_too_large() -> None:
    store = Store(10, 1)
    store.put(result("one"), picture())
    store.put(result("two"), picture())
    assert [stored.result.result_id for stored in store.recent()] == ["two"]


def test_an_image_is_counted_once_and_leaves_with_its_last_result() -> None:
    large, other = png() + bytes(30_000), png(101) + bytes(30_000)
    store = Store(3, int(1.5 * len(large)))
    for name in ("one", "two"):
        store.put(result(name), Picture.from_bytes(large))
    assert len(store.recent()) == 2, "two of these images would not fit"
    store.put(result("three"), Picture.from_bytes(other))
    assert [stored.result.result_id for stored in store.recent()] == ["three"]
    store.put(result("four"), Picture.from_bytes(other))
    assert len(store.recent()) == 2


def test_invented_tenants_count_as_one_and_displace_nobody() -> None:
    store = Store(20, 10 * MEGABYTE)
    for number in range(2):
        store.put(result(f"mine{number}"), picture(), "alice")
    for number in range(100):
        store.put(result(str(number)), picture(width=50 + number), f"invented {number}", known=False)
    assert len(store.recent("alice")) == 2


def test_invented_tenants_who_came_first_do_not_keep_out_a_known_one() -> None:
    store = Store(20, 10 * MEGABYTE)
    for number in range(100):
        store.put(result(str(number)), picture(), f"invented {number}", known=False)
    for number in range(10):
        store.put(result(f"mine{number}"), picture(), "alice")
    assert len(store.recent("alice")) == 10


def test_a_known_tenant_stays_known() -> None:
    store = Store(4, MEGABYTE)
    store.put(result("mine0"), picture(), "alice")
    store.put(result("mine1"), picture(), "alice", known=False)
    for number in range(10):
        store.put(result(str(number)), picture(), f"invented {number}", known=False)
    assert len(store.recent("alice")) == 2


def test_large_pictures_of_one_tenant_leave_the_small_ones_of_another() -> None:
    noise = [picture(400 + number, 400) for number in range(10)]
    store = Store(500, 3 * max(len(one.data) for one in noise) + 20_000)
    for number in range(10):
        store.put(result(f"small{number}"), picture(), "alice")
    for number, large in enumerate(noise):
        store.put(result(f"large{number}"), large, "bob")
    assert len(store.recent("alice")) == 10
    assert 1 <= len(store.recent("bob")) < 10


ANSWERS = 20


def prompts(count: int, length: int = 12) -> list[str]:
    return [f"{number}".ljust(length, "x") for number in range(count)]


def long_text(length: int) -> str:
    return "\u4e00" * length


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "found", "read", "masked"),
    [(1, 0, 0, 0), (1, 1, 0, 0), (3, 100, 0, 0), (300, 0, 0, 0), (1, 10, 3000, 0), (1, 10, 0, 20_000)],
    ids=["nothing", "one object", "many objects", "a long question", "much text", "masks"],
)
def test_the_estimate_is_near_what_python_says(asked: int, found: int, read: int, masked: int) -> None:
    kept = []
    tracemalloc.start()
    try:
        for _ in range(ANSWERS):
            request = DetectionRequest(prompts=tuple(prompts(asked)))
            objects = tuple(
                Detection(
                    label=f"thing {number}",
                    bbox=(number + 0.1, number + 0.2, number + 0.3, number + 0.4),
                    score=number / 200,
                    text=long_text(read) if read else None,
                    mask=Mask(size=(9, 9), counts="x" * masked) if masked else None,
                )
                for number in range(found)
            )
            kept.append((request, Detections(model="fake-1", objects=objects)))
        taken = tracemalloc.get_traced_memory()[0] / ANSWERS
    finally:
        tracemalloc.stop()
    request, answer = kept[0]
    assert footprint(request, answer.objects) == pytest.approx(taken, rel=0.5)
