import tracemalloc

import pytest

from dinox_mcp.types.detection import Detection, DetectionRequest, Detections, Mask, footprint

ANSWERS = 100


def prompts(count: int, length: int = 12) -> list[str]:
    return [f"{number}".ljust(length, "x") for number in range(count)]


def text(length: int) -> str:
    return "".join(chr(0x4E00 + number % 50) for number in range(length))


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
                    text=text(read) if read else None,
                    mask=Mask(size=(9, 9), counts="".join(prompts(masked // 10, 10))) if masked else None,
                )
                for number in range(found)
            )
            kept.append((request, Detections(model="fake-1", objects=objects)))
        taken = tracemalloc.get_traced_memory()[0] / ANSWERS
    finally:
        tracemalloc.stop()
    request, answer = kept[0]
    assert footprint(request, answer.objects) == pytest.approx(taken, rel=0.5)
