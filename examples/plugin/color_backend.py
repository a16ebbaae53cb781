"""A backend of your own: `pip install ./examples/plugin`; `dinox-mcp detect photo.jpg red --backend color`."""

import anyio.to_thread
import cv2
import numpy as np

from dinox_mcp import Call, Capabilities, Detection, DetectionRequest, Detections, Model, Picture, Settings
from dinox_mcp.errors import UnsupportedError

HUES = {"red": 0, "yellow": 30, "green": 60, "blue": 120}  # as OpenCV counts them, 0 to 179


class ColorBackend:
    name = "color"

    def capabilities(self, _model: str | None = None) -> Capabilities:
        return Capabilities(labels=tuple(HUES))

    def models(self) -> list[Model]:
        return [Model("hue", self.capabilities(), "four colours", loaded=True)]

    async def detect(self, image: Picture, request: DetectionRequest, call: Call) -> Detections:
        if unknown := set(request.prompts or ()) - HUES.keys():
            raise UnsupportedError(f"color cannot find {sorted(unknown)}; ask for {', '.join(HUES)}")
        return await anyio.to_thread.run_sync(find, image, request.prompts or tuple(HUES))

    async def aclose(self) -> None: ...


def find(image: Picture, labels: tuple[str, ...]) -> Detections:
    hue, saturation, value = cv2.split(cv2.cvtColor(np.asarray(image.rgb()), cv2.COLOR_RGB2HSV))
    found = []
    for label in labels:
        near = abs((hue.astype(int) - HUES[label] + 90) % 180 - 90) < 12
        boxes = cv2.connectedComponentsWithStats(np.uint8(near & (saturation > 120) & (value > 80)))[2][1:].tolist()
        found += [Detection(label=label, bbox=(x, y, x + w, y + h)) for x, y, w, h, area in boxes if area > 99]
    return Detections(model="hue", objects=tuple(found))


def create(settings: Settings) -> ColorBackend:
    return ColorBackend()
