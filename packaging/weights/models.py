"""The five models that are shipped: where each comes from, how it is stored, and how it wants its picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

# NASA's portrait of the astronaut Eileen Collins, in the public domain: data/astronaut.png of scikit-image 0.26.0 at
# half its size. It shows a person and a face.
PICTURE = Path(__file__).with_name("astronaut.png")

# NanoDet's mean and standard deviation of blue, green and red, from its configuration nanodet-g.yml.
_NANODET_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
_NANODET_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)

# How far the answer of the converted model may be from that of TensorFlow.js, as a part of its largest value. What was
# measured is below 3e-6.
EXACT = 1e-4

Input = npt.NDArray[np.float32] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: Its name in the npm package and in the wheel.
        storage: How weights are stored: `int8`, or `float16`, which keeps them exactly.
        side: The height and width of the picture on which it is checked.
        prepare: Makes the input from a picture (height, width, RGB).
        tolerance: How far an answer with stored weights may be from the recorded one, as a part of its largest value.
            Measured: 0.079 for NanoDet, 0.091 for MoveNet (which rounds to cells); float16 changes nothing.
        project: Where the model was published.
        authors: Who made and trained it.
        free_size: Whether the shipped model takes any height and width that are multiples of 32.
    """

    name: str
    storage: str
    side: int
    prepare: Callable[[npt.NDArray[np.uint8]], Input]
    tolerance: float
    project: str
    authors: str
    free_size: bool = False


def _nanodet_input(picture: npt.NDArray[np.uint8]) -> Input:
    normal = (picture[..., ::-1] - _NANODET_MEAN) / _NANODET_DEVIATION
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def _whole_numbers(picture: npt.NDArray[np.uint8]) -> Input:
    return picture[None].astype(np.int32)


def _zero_to_one(picture: npt.NDArray[np.uint8]) -> Input:
    return (picture[None] / np.float32(255)).astype(np.float32)


def _minus_one_to_one(picture: npt.NDArray[np.uint8]) -> Input:
    return (picture[None] / np.float32(127.5) - np.float32(1)).astype(np.float32)


_MEDIAPIPE = ("https://github.com/google-ai-edge/mediapipe", "Google (MediaPipe)")

MODELS = (
    Model(
        "nanodet",
        "int8",
        416,
        _nanodet_input,
        0.15,
        "https://github.com/RangiLyu/nanodet (NanoDet-g)",
        "RangiLyu and the NanoDet contributors",
        free_size=True,
    ),
    Model(
        "movenet-thunder",
        "int8",
        256,
        _whole_numbers,
        0.15,
        "https://www.kaggle.com/models/google/movenet (SinglePose Thunder)",
        "Google",
    ),
    Model("handdetect", "float16", 256, _minus_one_to_one, EXACT, *_MEDIAPIPE),
    Model("handlandmark-full", "float16", 224, _zero_to_one, EXACT, *_MEDIAPIPE),
    Model("blazeface-back", "float16", 256, _minus_one_to_one, EXACT, *_MEDIAPIPE),
)


def sample_input(model: Model) -> Input:
    """Make the input on which a model is checked: the picture, repeated or cut to the model's size."""
    with Image.open(PICTURE) as image:
        picture = np.asarray(image.convert("RGB"))
    repeats = -(-model.side // picture.shape[0])
    return model.prepare(np.tile(picture, (repeats, repeats, 1))[: model.side, : model.side])
