"""The cases of the gallery: a request, the calls that a model makes for it, and the image."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from PIL import Image

from examples.gallery.session import Session


@dataclass(frozen=True)
class Case:
    """A case: `play` makes the calls and returns what an assistant can answer; `alt` describes the image."""

    name: str
    title: str
    question: str
    alt: str
    about: str
    play: Callable[[Session], Awaitable[str]]


async def people(session: Session) -> str:
    """Count people, and find their faces, hands and poses."""
    await session.call("count_objects", image="astronaut.jpg", prompts=["person"])
    number = session.result["counts"]["person"]
    await session.call(
        "detect_objects", image="astronaut.jpg", prompts=["person", "face", "hand"], include=["pose", "hands"]
    )
    await session.call("visualize", result=session.result_id)
    counts = session.result["counts"]
    return (
        f"{number} person, {counts['face']} face, {counts['hand']} hands: no hand is in the picture. The skeleton "
        "shows the pose down to the hips."
    )


async def warehouse(session: Session) -> str:
    """Read everything in a picture."""
    await session.call("detect_objects", image="warehouse.png", prompts=["text", "QR code", "barcode", "marker"])
    await session.call("visualize", result=session.result_id)
    return f"{_counts(session)}. What the signs say and what the codes hold is in the answer."


async def coins(session: Session) -> str:
    """Count what looks like one of them, and check how sure the number is."""
    coin = [{"bbox": [262, 350, 346, 440], "label": "coin"}]
    await session.call("count_objects", image="coins.png", examples=coin)
    first = session.result["counts"]["coin"]
    await session.call("count_objects", image="coins.png", examples=coin, min_score=0.1)
    await session.call("visualize", result=session.result_id, show=["boxes", "numbers"])
    return (
        f"{session.result['counts']['coin']} coins. {first} are sure at the usual threshold; the counts at other "
        "thresholds named one more, and the numbered picture shows that it is a coin, and that none is missing."
    )


async def pallet(session: Session) -> str:
    """Read the codes on a pallet."""
    await session.call("detect_objects", image="pallet.png", prompts=["QR code", "barcode"])
    await session.call("visualize", result=session.result_id)
    lots = sorted(found["text"].rpartition("/")[2] for found in session.result["objects"] if "/" in found["text"])
    return f"{_counts(session)}. Lots {', '.join(lots[:-1])} and {lots[-1]}."


async def shelf(session: Session) -> str:
    """Count the same three products before and after."""
    products = [
        {"bbox": [62, 108, 178, 272], "label": "tea"},
        {"bbox": [358, 136, 464, 272], "label": "soup"},
        {"bbox": [794, 76, 908, 272], "label": "rice"},
    ]
    await session.call("detect_by_example", image="shelf-before.png", examples=products)
    before = session.result["counts"]
    await session.call("visualize", result=session.result_id, show=["boxes", "numbers"])
    left = session.picture
    there = [product | {"image": "shelf-before.png"} for product in products]
    await session.call("detect_by_example", image="shelf-after.png", examples=there)
    after = session.result["counts"]
    await session.call("visualize", result=session.result_id, show=["boxes", "numbers"])
    session.picture = _beside(left, session.picture)
    gone = ", ".join(f"{label} {before[label]} → {after[label]}" for label in before)
    return f"{sum(before.values()) - sum(after.values())} packages were taken: {gone}."


async def screen(session: Session) -> str:
    """Find a button by its text, and icons by one of them."""
    await session.call("detect_objects", image="screen.png", prompts=["“Save changes”"])
    (button,) = session.result["objects"]
    bin_icon = [{"bbox": [864, 148, 894, 179], "label": "delete"}]
    await session.call("detect_by_example", image="screen.png", examples=bin_icon)
    found = [_drawn("delete", one["bbox"]) for one in session.result["objects"]]
    found.append(_drawn("Save changes", button["bbox"]))
    await session.call("visualize", image="screen.png", objects=found)
    middle = [round((button["bbox"][edge] + button["bbox"][edge + 2]) / 2) for edge in (0, 1)]
    bins = session.result["counts"]["delete"]
    return f"“Save changes” is at {middle[0]}, {middle[1]}; there are {bins} bins, one for each booking."


async def film(session: Session) -> str:
    """Follow vehicles by their tags."""
    text = await session.call("detect_video", video="vehicles.mp4", prompts=["AprilTag"])
    peak = next(line for line in text.splitlines() if line.startswith("Most"))
    return f"{text.splitlines()[0].rpartition(': ')[2].replace(' AprilTag', ' vehicles')} were followed. {peak}."


CASES = (
    Case(
        "people",
        "Counting people",
        "How many people are in astronaut.jpg, and where are their faces and hands?",
        "A photograph of an astronaut: the person and her face are boxed and numbered, and a skeleton shows her pose",
        "A photograph by NASA of the astronaut Eileen Collins, in the public domain, cut off on the right.",
        people,
    ),
    Case(
        "warehouse",
        "Reading a scene",
        "What is written in warehouse.png?",
        "A painted warehouse; signs, a parcel label, codes and markers are boxed, numbered and read",
        "Painted by `examples/make_sample.py`; found, read and drawn by the server.",
        warehouse,
    ),
    Case(
        "coins",
        "Counting stock",
        "How many coins are on coins.png? This is one: 262, 350 to 346, 440.",
        "A photograph of 24 old coins in four rows, each in a box with its number",
        "A photograph of the Brooklyn Museum, enlarged twice; matched with the pixels of one coin, without any model.",
        coins,
    ),
    Case(
        "pallet",
        "Reading codes on pallets",
        "Which lots are on pallet.png?",
        "Four cartons on a pallet, each with a QR code and a barcode, boxed and numbered",
        "Painted by `examples/gallery/scenes.py`.",
        pallet,
    ),
    Case(
        "shelf",
        "Comparing two photos",
        "Compare shelf-before.png with shelf-after.png: what was taken? Tea, soup and rice look like these three.",
        "The same shelf twice, side by side, every package boxed and numbered; some places on the right are empty",
        "Painted by `examples/gallery/scenes.py`. On photographs of a real shelf a model does better.",
        shelf,
    ),
    Case(
        "screen",
        "Finding a UI element in a screenshot",
        "Where do I click in screen.png to save, and where to delete? The first bin is at 864, 148 to 894, 179.",
        "A screenshot of a table of bookings; the Save changes button and five bins are boxed and labelled",
        "A screenshot of `examples/gallery/page.html`, an invented program.",
        screen,
    ),
    Case(
        "film",
        "Tracking in video",
        "How many vehicles pass in vehicles.mp4, and when?",
        "Key frames of a film on one sheet: three driverless vehicles with tags, each with the number of its track",
        "Filmed by `examples/gallery/scenes.py`. Needs the extra `video`.",
        film,
    ),
)


def _drawn(label: str, bbox: list[float]) -> dict[str, object]:
    return {"label": label, "bbox": [round(edge) for edge in bbox]}


def _counts(session: Session) -> str:
    counts = session.result["counts"]
    return f"{sum(counts.values())} objects: {', '.join(f'{number} {label}' for label, number in counts.items())}"


def _beside(left: bytes, right: bytes) -> bytes:
    """Put two pictures of one size next to each other."""
    pictures = [Image.open(io.BytesIO(data)) for data in (left, right)]
    both = Image.new("RGB", (2 * pictures[0].width + 12, pictures[0].height), "white")
    for index, picture in enumerate(pictures):
        both.paste(picture, (index * (picture.width + 12), 0))
    buffer = io.BytesIO()
    both.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
