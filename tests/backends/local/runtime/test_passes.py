from dataclasses import dataclass, field
from threading import Event

import pytest
from PIL import Image

from dinox_mcp.backends.local.models.base import Interrupted, Prepared, interruptible
from dinox_mcp.backends.local.runtime.worker import look
from dinox_mcp.images.picture import Picture
from tests.backends.local.fakes import FakeAdapter
from tests.fakes import picture

RED, BLUE = picture(color="red"), picture(color="blue")


@dataclass
class Resizing(FakeAdapter):
    """Remembers the size of each picture that it resized."""

    resized: list[tuple[int, int]] = field(default_factory=list)

    def prepare(self, image: Image.Image) -> Prepared:
        self.resized.append(image.size)
        return super().prepare(image)


@pytest.mark.parametrize("pictures", [[RED], [RED, BLUE]], ids=["one", "a batch"])
def test_a_cancellation_while_pictures_are_decoded_is_seen_before_they_are_resized(
    pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, adapter, decode = Event(), Resizing(), Picture.rgb

    def cancelled_meanwhile(self: Picture) -> Image.Image:
        stop.set()
        return decode(self)

    monkeypatch.setattr(Picture, "rgb", cancelled_meanwhile)
    with pytest.raises(Interrupted), interruptible(stop):
        look(adapter, pictures)  # type: ignore[arg-type] # numpy stands in for torch
    assert adapter.resized == []
