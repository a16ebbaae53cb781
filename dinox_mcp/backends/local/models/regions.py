"""Descriptions of boxes: poses by ViTPose, and captions, categories and texts by Florence-2.

ViTPose (Xu et al., arXiv:2204.12484) makes heatmaps of a crop around each person, and of them 17 points.

Florence-2 (Xiao et al., arXiv:2311.06242) shares the features of the image between all boxes and tasks. A box is given
to the model as four of its thousand position tokens. The model gives no score, and none is made up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import torch

from dinox_mcp.backends.local.models.base import DescribingModel, ImageFeatures, Prepared, TorchModel, check
from dinox_mcp.backends.local.models.shared import of_image, stacked, tokenizer_in
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Keypoint, Output
from dinox_mcp.types.keypoints import BODY

if TYPE_CHECKING:
    from PIL import Image

Array = npt.NDArray[np.float32]
Cells = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

_MARGIN = 1.25
"""A person's box is enlarged by as much, as in training."""
_COCO = 0
"""The index of COCO among the data sets that the mixtures of experts were trained on."""
_SIGMA, _KERNEL = 0.8, (11, 11)  # of the Gaussian that smooths a heatmap, in cells
_LEAST, _MOST = 0.001, 50
_FAR = 2.0
"""Cells. A peak that the fit moves further is not moved at all."""


def decode(heatmaps: Array) -> tuple[Array, Array]:
    """Find the peak of each map: where it is (n, points, 2), x and y in cells, and how high (n, points).

    `heatmaps` is (n, points, height, width).
    """
    maps, points, height, width = heatmaps.shape
    flat = heatmaps.reshape(maps, points, height * width)
    highest = flat.argmax(-1)
    x, y = highest % width, highest // width
    offset = _offset(np.log(np.clip(_blurred(heatmaps), _LEAST, _MOST)), x, y)
    far = ~(np.abs(offset).max(-1, keepdims=True) <= _FAR)  # nowhere at all is far, too
    peaks = np.stack((x, y), axis=-1) - np.where(far, 0, offset)
    return peaks.astype(np.float32), flat.max(-1)


def _offset(logs: Array, x: Cells, y: Cells) -> npt.NDArray[np.float64]:
    """Return how far each peak (n, points) lies from the vertex of the parabola through it: (n, points, 2)."""
    around = np.pad(logs.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    maps, points = np.ogrid[: logs.shape[0], : logs.shape[1]]

    def at(right: int, down: int) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = around[maps, points, y + 1 + down, x + 1 + right]
        return values

    here, left, right, above, below = at(0, 0), at(-1, 0), at(1, 0), at(0, -1), at(0, 1)
    slope_x, slope_y = (right - left) / 2, (below - above) / 2
    tiny = np.finfo(np.float32).eps
    bend_x, bend_y = right - 2 * here + left + tiny, below - 2 * here + above + tiny
    twist = (at(1, 1) - right - below + 2 * here - left - above + at(-1, -1)) / 2
    determinant = bend_x * bend_y - twist * twist
    moved = np.stack((bend_y * slope_x - twist * slope_y, bend_x * slope_y - twist * slope_x), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # where the map is flat
        return moved / determinant[..., None]


def _blurred(heatmaps: Array) -> Array:
    """Blur with a Gaussian; beyond the edge a map is mirrored."""
    import cv2

    flat = heatmaps.reshape(-1, *heatmaps.shape[2:])
    blurred = [cv2.GaussianBlur(one, _KERNEL, _SIGMA, borderType=cv2.BORDER_REFLECT) for one in flat]
    return np.reshape(blurred, heatmaps.shape).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of an image: its centre and its size (x, y), in pixels whose centres are at integers."""

    centre: Array
    size: Array

    @classmethod
    def around(cls, box: Box, aspect: float) -> Self:
        """Enlarge a box to a width that is `aspect` times its height, and by the margin."""
        x1, y1, x2, y2 = box
        width, height = max(x2 - x1, (y2 - y1) * aspect), max(y2 - y1, (x2 - x1) / aspect)
        centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2], dtype=np.float32)
        return cls(centre, np.array([width, height], dtype=np.float32) * np.float32(_MARGIN))

    def of(self, pixels: Pixels, width: int, height: int) -> Pixels:
        """Sample an image (height, width, 3) bilinearly; the outermost samples are at the window's edges.

        Beyond the image all is black. What lies between four pixels is rounded, as SciPy and OpenCV do.
        """
        ys, down, inside_y = self._samples(1, height, pixels.shape[0])
        xs, across, inside_x = self._samples(0, width, pixels.shape[1])
        after = np.minimum(ys + 1, pixels.shape[0] - 1), np.minimum(xs + 1, pixels.shape[1] - 1)
        across = across[:, None]
        upper, lower = (
            pixels[rows][:, xs] * (1 - across) + pixels[rows][:, after[1]] * across for rows in (ys, after[0])
        )
        sampled = upper * (1 - down)[:, None, None] + lower * down[:, None, None] + 0.5
        sampled[~inside_y] = 0
        sampled[:, ~inside_x] = 0
        return sampled.astype(np.uint8)

    def to_image(self, points: Array, width: int, height: int) -> Array:
        """Map points (..., 2) in a grid of `width` x `height` cells over the window into the image."""
        step = self.size / np.array([width - 1, height - 1], dtype=np.float32)
        moved: Array = points * step + self.centre - self.size * np.float32(0.5)
        return moved

    def _samples(
        self, axis: int, count: int, limit: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the pixel before each sample of an axis, the weight of the one after, and whether they exist."""
        step = float(self.size[axis]) / (count - 1)
        where = np.arange(count) * step + float(self.centre[axis]) - float(self.size[axis]) / 2
        before = np.clip(np.floor(where), 0, limit - 1).astype(np.int64)
        return before, where - before, (where >= 0) & (where <= limit - 1)


class VitPose(TorchModel, DescribingModel):
    """A ViTPose model, prompted with the boxes of people. On a CPU more at once are no faster."""

    architectures: ClassVar = {"vitpose": "VitPoseForPoseEstimation"}
    gpu_batch = 32

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        if model.config.num_labels != len(BODY):
            raise UnsupportedError(
                f"the model in {folder} gives {model.config.num_labels} points a person, not the {len(BODY)} of COCO; "
                "choose another for DINOX_MCP_POSE_MODEL"
            )
        super().__init__(model, folder, dtype)
        self._experts = model.config.backbone_config.num_experts > 1

    def prepare(self, image: "Image.Image") -> Prepared:
        """Keep the pixels of an RGB image as they are."""
        return Prepared(cast("Any", np.asarray(image)), image.size)  # (height, width, 3), not yet what a model sees

    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Keep the pixels: people are cropped one by one."""
        return [ImageFeatures((image.pixels,), image.size) for image in batch]

    @torch.inference_mode()
    def describe(self, features: ImageFeatures, boxes: Sequence[Box], output: Output) -> list[tuple[Keypoint, ...]]:  # noqa: ARG002 - has one
        """Return the points of the person in each box; those that the model finds nowhere are left out."""
        width, height = self._preprocess.width, self._preprocess.height
        crops = [Crop.around(box, width / height) for box in boxes]
        (image,) = features.arrays
        pixels = torch.stack([self._seen(image, crop) for crop in crops]).to(self._model.device)
        index = torch.full((len(boxes),), _COCO, device=pixels.device) if self._experts else None
        with self._computing():
            heatmaps = self._model(pixels, dataset_index=index).heatmaps
        cells, scores = decode(heatmaps.float().cpu().numpy())
        grid = heatmaps.shape[3], heatmaps.shape[2]
        return [
            _named(crop.to_image(points, *grid), certainty)
            for crop, points, certainty in zip(crops, cells, scores, strict=True)
        ]

    def _seen(self, pixels: Pixels, crop: Crop) -> torch.Tensor:
        from PIL import Image

        check()
        part = Image.fromarray(crop.of(pixels, self._preprocess.width, self._preprocess.height))
        return torch.from_numpy(self._preprocess(part))


def _named(points: Array, scores: Array) -> tuple[Keypoint, ...]:
    """Name points (17, 2) whose pixels have their centres at integers: ours have their edges there."""
    return tuple(
        Keypoint(name=name, x=x + 0.5, y=y + 0.5, score=min(score, 1.0))
        for name, (x, y), score in zip(BODY, points.tolist(), scores.tolist(), strict=True)
        if score > 0
    )


PROMPTS: dict[Output, str] = {
    "caption": "What does the region {region} describe?",
    "category": "What is the region {region}?",
    "text": "What text is in the region {region}?",
}
"""The tasks REGION_TO_DESCRIPTION, REGION_TO_CATEGORY and REGION_TO_OCR, in the words of its training."""
LONGEST: dict[Output, int] = {"caption": 128, "category": 32, "text": 256}
"""Tokens; what is longer is cut."""
_BINS = 1000
_POSITION = re.compile(r"<loc_\d+>")


class Florence2(TorchModel, DescribingModel):
    """A Florence-2 model, prompted with regions. A few at once read the weights once; the longest answer delays all."""

    architectures: ClassVar = {"florence2": "Florence2ForConditionalGeneration"}

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(model, folder, dtype)
        self._tokenizer = tokenizer_in(folder)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            tokens = self._model.get_image_features(pixels).pooler_output
        return [ImageFeatures(of_image(row, (tokens,)), image.size) for row, image in enumerate(batch)]

    @torch.inference_mode()
    def describe(self, features: ImageFeatures, boxes: Sequence[Box], output: Output) -> list[str | None]:
        """Return a text for each region; None where the model says nothing.

        Words are searched as the checkpoint's generation_config.json says: the published ones keep three beams.
        """
        prompts = [PROMPTS[output].format(region=region(box, features.size)) for box in boxes]
        inputs, mask = self._inputs(prompts, *features.arrays)
        with self._computing():
            read = self._model.get_encoder()(inputs_embeds=inputs, attention_mask=mask)
            tokens = self._model.generate(
                encoder_outputs=read, attention_mask=mask, do_sample=False, max_new_tokens=LONGEST[output]
            )
        return [_words(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _inputs(self, prompts: Sequence[str], features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the image before each prompt, as the processor of transformers does; give embeddings and mask."""
        begin, end = self._tokenizer.bos_token, self._tokenizer.eos_token
        read = self._tokenizer(
            [f"{begin}{prompt}{end}" for prompt in prompts],
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        ).to(features.device)
        texts = self._model.get_input_embeddings()(read["input_ids"])
        images = features.to(texts.dtype).expand(len(prompts), -1, -1)
        visible = read["attention_mask"].new_ones(images.shape[:2])
        return torch.cat((images, texts), dim=1), torch.cat((visible, read["attention_mask"]), dim=1)


def region(box: Box, size: tuple[int, int]) -> str:
    """Write a box in an image of `size` (width, height) as the model's position tokens: a thousand bins an axis."""
    bins = (
        min(max(int(value / (side / _BINS)), 0), _BINS - 1) for value, side in zip(box, (*size, *size), strict=True)
    )
    return "".join(f"<loc_{index}>" for index in bins)


def _words(text: str) -> str | None:
    """Leave out the region, which the model repeats after its answer."""
    return " ".join(_POSITION.sub(" ", text).split()) or None
